//! The HTTP API: `POST /search`, `GET /stats`, `GET /healthz`.

use std::io::{self, BufReader, BufWriter};
use std::net::TcpStream;

use headstart_serving::{Handover, http};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::database::Database;

/// The longest request, bytes; the most neighbours it may ask for.
const REQUEST: u64 = 256 << 10;
const MOST: usize = 1000;
const JSON: &str = "application/json";

/// `{"vector": […], "k": 10, "range": [0, 5000]}`.
#[derive(Deserialize)]
struct Search {
    vector: Vec<f32>,
    #[serde(default = "ten")]
    k: usize,
    /// Ids from the first to before the second; all without it.
    range: Option<(u64, u64)>,
}

fn ten() -> usize {
    10
}

#[derive(Serialize)]
struct Result {
    id: u64,
    score: f32,
}

/// What is served.
#[derive(Debug)]
pub struct Api {
    pub database: Database,
    pub handover: Handover,
}

impl Api {
    pub fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut writer = BufWriter::new(stream.try_clone()?);
        let mut reader = BufReader::new(stream);
        while let Some(read) = http::read(&mut reader, REQUEST)? {
            let (status, body, keep) = match read {
                Ok(request) => {
                    let (status, body) = self.answer(&request);
                    (status, body, request.keep_alive)
                }
                Err(http::Refused(status, what)) => (status, json!({ "error": what }), false),
            };
            http::write(&mut writer, status, JSON, body.to_string().as_bytes(), keep)?;
            if !keep {
                break;
            }
        }
        Ok(())
    }

    fn answer(&self, request: &http::Request) -> (u16, serde_json::Value) {
        match (&*request.method, &*request.path) {
            ("POST", "/search") => self.search(&request.body),
            ("GET", "/stats") => {
                let (vectors, dimensions) = (self.database.vectors(), self.database.dimensions());
                (200, json!({ "vectors": vectors, "dimensions": dimensions, "start": self.handover }))
            }
            ("GET", "/healthz") => (200, json!({ "status": "ok" })),
            (_, "/search" | "/stats" | "/healthz") => (405, json!({ "error": "another method was expected" })),
            _ => (404, json!({ "error": "there is /search, /stats and /healthz" })),
        }
    }

    fn search(&self, body: &[u8]) -> (u16, serde_json::Value) {
        let Search { vector, k, range } = match serde_json::from_slice(body) {
            Ok(search) => search,
            Err(error) => return (400, json!({ "error": error.to_string() })),
        };
        let (from, to) = range.unwrap_or((0, u64::MAX));
        if k > MOST {
            return (400, json!({ "error": format!("k is at most {MOST}") }));
        }
        match self.database.search(&vector, k, &(from..to)) {
            Some(found) => {
                let results: Vec<Result> = found.iter().map(|near| Result { id: near.id, score: near.score }).collect();
                (200, json!({ "results": results }))
            }
            None => {
                let dimensions = self.database.dimensions();
                (400, json!({ "error": format!("a vector of {dimensions} dimensions was expected, and not 0") }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::tests::database;

    fn api() -> Api {
        let handover =
            Handover { handover_ms: 0.1, waited_ms: 0.0, shards: 3, bytes: 60_000, from_initscript: 3, copied: false };
        Api { database: database(false), handover }
    }

    fn asked(method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let (method, path) = (method.to_owned(), path.to_owned());
        api().answer(&http::Request { method, path, body: body.into(), keep_alive: true })
    }

    #[test]
    fn a_search_gives_ids_and_scores() {
        let vector = json!([vec![0.5; 50]])[0].clone();
        let (status, answer) = asked("POST", "/search", &json!({ "vector": vector, "k": 3 }).to_string());
        assert_eq!((status, answer["results"].as_array().unwrap().len()), (200, 3));
        assert!(answer["results"][0]["score"].as_f64() >= answer["results"][1]["score"].as_f64());
        let few = json!({ "vector": vector, "range": [5, 7] }).to_string();
        assert_eq!(asked("POST", "/search", &few).1["results"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for body in ["", "{}", "[]", r#"{"vector":[1]}"#, r#"{"vector":"x"}"#, r#"{"vector":[1e99]}"#] {
            assert_eq!(asked("POST", "/search", body).0, 400, "{body}");
        }
        assert_eq!(asked("POST", "/search", r#"{"vector":[1],"k":1001}"#).0, 400);
        assert_eq!(asked("POST", "/search", r#"{"vector":[1],"k":-1}"#).0, 400);
        assert_eq!((asked("GET", "/search", "").0, asked("GET", "/", "").0), (405, 404));
        assert_eq!(asked("GET", "/stats", "").1["start"]["handover_ms"], 0.1);
        assert_eq!(asked("GET", "/healthz", "").0, 200);
    }
}
