//! AWS Signature Version 4 of requests without a body, for the program's own client.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// Hex SHA-256 of no bytes.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Whose requests they are.
pub(crate) struct Signer {
    access_key: String,
    secret_key: String,
    region: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Signer").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Signer {
    pub(crate) fn from_env() -> Option<Self> {
        let var = |name| std::env::var(name).ok();
        let region = var("AWS_REGION").unwrap_or_else(|| "us-east-1".to_owned());
        Some(Self { access_key: var("AWS_ACCESS_KEY_ID")?, secret_key: var("AWS_SECRET_ACCESS_KEY")?, region })
    }

    /// The headers that make a request with these headers a signed one.
    pub(crate) fn sign(&self, verb: &str, path: &str, headers: &[(String, String)]) -> Vec<(String, String)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.signed_at(&date(now), verb, path, headers)
    }

    fn signed_at(&self, date: &str, verb: &str, path: &str, headers: &[(String, String)]) -> Vec<(String, String)> {
        let ours = [("x-amz-content-sha256".to_owned(), EMPTY.to_owned()), ("x-amz-date".to_owned(), date.to_owned())];
        let mut all: Vec<&(String, String)> = headers.iter().chain(&ours).collect();
        all.sort();
        let names = all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let lines: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("{verb}\n{path}\n\n{lines}\n{names}\n{EMPTY}");
        let day = date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let secret = format!("AWS4{}", self.secret_key).into_bytes();
        let parts = [day, &self.region, "s3", "aws4_request", &to_sign];
        let signature = hex(&parts.into_iter().fold(secret, |key, part| hmac(&key, part)));
        let key = &self.access_key;
        let value = format!("AWS4-HMAC-SHA256 Credential={key}/{scope},SignedHeaders={names},Signature={signature}");
        ours.into_iter().chain([("authorization".to_owned(), value)]).collect()
    }
}

/// Seconds since 1970 as "20130524T000000Z".
fn date(seconds: u64) -> String {
    // Days are counted in eras of 400 years that begin on 1 March.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example "GET Object" of AWS's documentation of signatures in the Authorization header.
    #[test]
    fn signs_as_documented() {
        let signer = Signer {
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            region: "us-east-1".into(),
        };
        let headers = [
            ("host".to_owned(), "examplebucket.s3.amazonaws.com".to_owned()),
            ("range".to_owned(), "bytes=0-9".to_owned()),
        ];
        let signed = signer.signed_at(&date(1_369_353_600), "GET", "/test.txt", &headers);
        assert_eq!(signed[1].1, "20130524T000000Z");
        let expected = "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        assert!(signed[2].1.ends_with(expected), "{}", signed[2].1);
    }
}
