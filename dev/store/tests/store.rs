//! The real store, spoken to by the bridge's own client.

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    use headstart_base::{ErrorCode, Result};
    use headstart_net::{Address, BodySink, Client, ClientConfig, Done, Reach, Request, ResponseHead, Store};

    struct Running {
        child: Child,
        dir: PathBuf,
        store: Store,
        admin: String,
    }

    impl Running {
        fn start() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::SeqCst);
            let dir = std::env::temp_dir().join(format!("headstart-store-test-{}-{number}", std::process::id()));
            std::fs::create_dir_all(dir.join("models")).unwrap();
            let mut child = Command::new(env!("CARGO_BIN_EXE_headstart-store"))
                .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-key", "AK", "--dir"])
                .arg(&dir)
                .env("HEADSTART_STORE_SECRET_KEY", "secret")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let rest = line.trim().strip_prefix("ready: store on ").expect(&line);
            let (address, admin) = rest.split_once(", admin on ").unwrap();
            let store = Store::new(&format!("http://{address}"), "us-east-1", "AK", "secret").unwrap();
            Self { child, dir, store, admin: admin.to_owned() }
        }

        fn admin(&self, head: &str, body: &str) -> String {
            let mut tcp = TcpStream::connect(&self.admin).unwrap();
            let length = body.len();
            write!(tcp, "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
                .unwrap();
            let mut answer = String::new();
            tcp.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            answer
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            std::fs::remove_dir_all(&self.dir).unwrap();
        }
    }

    #[derive(Default)]
    struct Sink {
        bytes: Vec<u8>,
        buffer: Vec<u8>,
        begins: usize,
    }

    impl BodySink for Sink {
        fn begin(&mut self, _head: &ResponseHead) -> Result<()> {
            self.begins += 1;
            self.bytes.clear();
            self.buffer.resize(1 << 16, 0);
            Ok(())
        }

        fn space(&mut self) -> Result<&mut [u8]> {
            Ok(&mut self.buffer)
        }

        fn filled(&mut self, count: usize) {
            self.bytes.extend_from_slice(&self.buffer[..count]);
        }
    }

    async fn ask(client: &Client, store: &Store, address: &str, raw: &[u8]) -> (Result<Done>, Sink) {
        let address = Address::parse(address).unwrap();
        let request = Request::parse(&address, raw).unwrap();
        let mut sink = Sink::default();
        let deadline = Instant::now() + Duration::from_secs(10);
        let result = client.send("t", &address, Some(store), &request, deadline, &mut sink, &mut |_| {}).await;
        (result, sink)
    }

    fn status(result: &(Result<Done>, Sink)) -> u16 {
        result.0.as_ref().unwrap().head.status
    }

    #[tokio::test]
    async fn a_stalled_body_goes_on() {
        let running = Running::start();
        let client = Client::new(ClientConfig { reach: Reach::Spelled, ..ClientConfig::default() });
        let body: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        std::fs::write(running.dir.join("models/stalled"), &body).unwrap();
        running.admin("POST /-/fault", r#"{"request":"GET models/stalled","kind":"stall","after":100000,"ms":200}"#);
        let began = Instant::now();
        let got = ask(&client, &running.store, "s3://models", b"GET stalled\n\n").await;
        assert!(got.1.bytes == body && began.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn objects_go_in_and_out() {
        let running = Running::start();
        let client = Client::new(ClientConfig { reach: Reach::Spelled, ..ClientConfig::default() });
        let body: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 253) as u8).collect();
        let put = [b"PUT a b/\xc3\xa9+~'()!*&=#,;:@$%25\n\n", &body[..]].concat();
        assert_eq!(status(&ask(&client, &running.store, "s3://models", &put).await), 200);
        let key = "GET a b/é+~'()!*&=#,;:@$%25\n";
        let got = ask(&client, &running.store, "s3://models", format!("{key}\n").as_bytes()).await;
        assert_eq!((status(&got), got.1.bytes == body), (200, true));
        let got = ask(&client, &running.store, "s3://models", format!("{key}range: bytes=10-19\n\n").as_bytes()).await;
        assert_eq!((status(&got), &got.1.bytes[..]), (206, &body[10..20]));
        let etag = got.0.as_ref().unwrap().head.header("etag").unwrap().to_owned();
        let got =
            ask(&client, &running.store, "s3://models", format!("{key}if-none-match: {etag}\n\n").as_bytes()).await;
        assert_eq!((status(&got), got.1.bytes.len()), (304, 0));
        let got = ask(&client, &running.store, "s3://models", b"HEAD a%20b/nothing\n\n").await;
        assert_eq!((status(&got), got.1.bytes.len()), (404, 0));
        assert_eq!(status(&ask(&client, &running.store, "s3://models", b"GET nothing\n\n").await), 404);
        assert_eq!(status(&ask(&client, &running.store, "s3://nowhere", b"GET x\n\n").await), 404);

        std::fs::write(running.dir.join("models/by-hand"), b"first").unwrap();
        let got = ask(&client, &running.store, "s3://models", b"GET by-hand\n\n").await;
        assert_eq!(got.1.bytes, b"first");
        assert_eq!(status(&ask(&client, &running.store, "s3://models", b"PUT by-hand\n\nsecond").await), 200);
        let got = ask(&client, &running.store, "s3://models", b"GET by-hand\n\n").await;
        assert_eq!(got.1.bytes, b"second");

        let got = ask(&client, &running.store, "s3://models", b"GET ?list-type=2&delimiter=%2F\n\n").await;
        let text = String::from_utf8(got.1.bytes).unwrap();
        assert!(text.contains("<Key>by-hand</Key>") && text.contains("<Prefix>a b/</Prefix>"), "{text}");
        assert_eq!(status(&ask(&client, &running.store, "s3://models", b"DELETE by-hand\n\n").await), 204);
        assert_eq!(status(&ask(&client, &running.store, "s3://models", b"GET by-hand\n\n").await), 404);
        let stats = running.admin("GET /-/stats", "");
        assert!(stats.contains("\"GET models/by-hand\":3") && stats.contains("headstart-bridge"), "{stats}");
    }

    #[tokio::test]
    async fn signatures_are_checked() {
        let running = Running::start();
        std::fs::write(running.dir.join("models/x"), b"x").unwrap();
        let client = Client::new(ClientConfig { reach: Reach::Spelled, ..ClientConfig::default() });
        let endpoint = running.store.endpoint().to_string();
        let wrong = Store::new(&endpoint, "us-east-1", "AK", "guess").unwrap();
        assert_eq!(status(&ask(&client, &wrong, "s3://models", b"GET x\n\n").await), 403);
        assert_eq!(status(&ask(&client, &running.store, &endpoint, b"GET /models/x\n\n").await), 403);
        assert_eq!(status(&ask(&client, &running.store, "s3://models", b"GET x\n\n").await), 200);
    }

    #[tokio::test]
    async fn faults_happen_when_they_are_asked_for() {
        let running = Running::start();
        let body = vec![7; 1_000_000];
        std::fs::write(running.dir.join("models/x"), &body).unwrap();
        let client = Client::new(ClientConfig { reach: Reach::Spelled, ..ClientConfig::default() });
        let arm = |fault: &str| {
            running.admin("POST /-/fault", &format!("{{\"request\":\"GET models/x\",{fault}}}"));
        };
        for kind in ["reset", "short"] {
            arm(&format!("\"kind\":\"{kind}\",\"after\":300000"));
            let (result, sink) = ask(&client, &running.store, "s3://models", b"GET x\n\n").await;
            assert_eq!((result.unwrap().attempts, sink.begins, sink.bytes == body), (2, 2, true), "{kind}");
        }
        for (kind, code) in [("reset", ErrorCode::ConnectionReset), ("short", ErrorCode::BodyTruncated)] {
            arm(&format!("\"kind\":\"{kind}\",\"after\":300000,\"times\":3"));
            let (result, _) = ask(&client, &running.store, "s3://models", b"GET x\n\n").await;
            assert_eq!(result.unwrap_err().code, code);
        }
        for _ in 0..2 {
            arm("\"kind\":\"long\"");
            let (result, sink) = ask(&client, &running.store, "s3://models", b"GET x\n\n").await;
            assert!(result.unwrap().attempts == 1 && sink.bytes == body);
        }
        arm("\"kind\":\"status\",\"status\":403");
        assert_eq!(status(&ask(&client, &running.store, "s3://models", b"GET x\n\n").await), 403);
        arm("\"kind\":\"status\",\"status\":503");
        assert_eq!(status(&ask(&client, &running.store, "s3://models", b"GET x\n\n").await), 200);
    }
}
