//! AWS Signature Version 4, as S3 and SQS use it: single chunk, in the Authorization header, the path encoded once.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Who signs.
#[derive(Clone, Copy)]
pub(crate) struct Signer<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) secret_key: &'a str,
    pub(crate) region: &'a str,
    /// "s3" or "sqs".
    pub(crate) service: &'a str,
}

/// What is signed. Names of headers are in lower case; all that are given are signed.
pub(crate) struct Signable<'a> {
    pub(crate) verb: &'a str,
    /// Canonical path with its query.
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// Hex SHA-256 of the body.
    pub(crate) payload: &'a str,
    /// `amz_date`'s form of the time.
    pub(crate) date: &'a str,
}

/// The hex SHA-256 of a body.
pub(crate) fn payload_hash(body: &[u8]) -> String {
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    match body.is_empty() {
        true => EMPTY.to_owned(),
        false => hex(&Sha256::digest(body)),
    }
}

/// A time as "20130524T000000Z".
pub(crate) fn amz_date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Days since 1970 as year, month and day (Gregorian).
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted in eras of 400 years that begin on 1 March.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// The value of the Authorization header.
pub(crate) fn authorization(signable: &Signable<'_>, signer: Signer<'_>) -> String {
    let mut headers: Vec<(&str, String)> =
        signable.headers.iter().map(|&(name, value)| (name, folded(value))).collect();
    headers.sort();
    // A header that is there twice is signed once, its values joined.
    let mut joined: Vec<(&str, String)> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        match joined.last_mut() {
            Some((last, values)) if *last == name => {
                values.push(',');
                values.push_str(&value);
            }
            _ => joined.push((name, value)),
        }
    }
    let names = joined.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");

    let (path, query) = signable.path.split_once('?').unwrap_or((signable.path, ""));
    let mut canonical = format!("{}\n{path}\n{query}\n", signable.verb);
    for (name, value) in &joined {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{}", signable.payload);

    let day = signable.date.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/{}/aws4_request", signer.region, signer.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", signable.date, hex(&Sha256::digest(&canonical)));
    let mut key = Zeroizing::new(format!("AWS4{}", signer.secret_key).into_bytes());
    for part in [day, signer.region, signer.service, "aws4_request", &to_sign] {
        key = hmac(&key, part.as_bytes());
    }
    format!("AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={}", signer.access_key, hex(&key))
}

/// Trimmed, with runs of spaces made one.
fn folded(value: &str) -> String {
    value.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Keys are made of keys: none is left behind.
fn hmac(key: &[u8], data: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut mac = match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        // HMAC takes keys of every length.
        Err(_) => return Zeroizing::default(),
    };
    mac.update(data);
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The examples of AWS's documentation ("Signature Calculations for the Authorization Header", bucket examplebucket).
#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: Signer<'_> = Signer {
        access_key: "AKIAIOSFODNN7EXAMPLE",
        secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region: "us-east-1",
        service: "s3",
    };
    const DATE: &str = "20130524T000000Z";
    const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");

    fn signature(verb: &str, path: &str, extra: &[(&str, &str)], body: &[u8]) -> String {
        let payload = payload_hash(body);
        let mut headers = vec![HOST, ("x-amz-date", DATE), ("x-amz-content-sha256", &payload)];
        headers.extend_from_slice(extra);
        let signable = Signable { verb, path, headers: &headers, payload: &payload, date: DATE };
        let value = authorization(&signable, EXAMPLE);
        assert!(value.contains("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"));
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn get_object_with_a_range() {
        assert_eq!(
            signature("GET", "/test.txt", &[("range", "bytes=0-9")], b""),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

    #[test]
    fn put_object() {
        let extra = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        assert_eq!(
            signature("PUT", "/test%24file.text", &extra, b"Welcome to Amazon S3."),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
    }

    #[test]
    fn get_bucket_lifecycle() {
        assert_eq!(
            signature("GET", "/?lifecycle=", &[], b""),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
    }

    #[test]
    fn list_objects() {
        assert_eq!(
            signature("GET", "/?max-keys=2&prefix=J", &[], b""),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn dates() {
        let at = |seconds| amz_date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "19700101T000000Z");
        assert_eq!(at(1_369_353_600), DATE);
        assert_eq!(at(1_709_210_096), "20240229T123456Z");
        assert_eq!(at(4_102_444_799), "20991231T235959Z");
    }
}
