//! The real link, in front of a server in the test.

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    struct Link {
        child: Child,
        address: String,
    }

    impl Link {
        fn start(to: &TcpListener) -> Self {
            let mut child = Command::new(env!("CARGO_BIN_EXE_headstart-link"))
                .args(["--listen", "127.0.0.1:0", "--first-byte-ms", "25", "--rate-mb-s", "50", "--to"])
                .arg(to.local_addr().unwrap().to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let address = line.strip_prefix("ready: link on ").and_then(|rest| rest.split(' ').next());
            let address = address.expect(&line).to_owned();
            Self { child, address }
        }
    }

    impl Drop for Link {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    #[test]
    fn the_first_byte_is_late_and_the_others_come_at_the_rate() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = Link::start(&listener);
        let body: Vec<u8> = (0..2_500_000_u32).map(|number| (number % 251) as u8).collect();
        let sent = body.clone();
        let server = std::thread::spawn(move || {
            let (mut tcp, _) = listener.accept().unwrap();
            while tcp.read_exact(&mut [0; 4]).is_ok() {
                tcp.write_all(&sent).unwrap();
            }
        });
        let mut client = TcpStream::connect(&link.address).unwrap();
        for _ in 0..3 {
            let begin = Instant::now();
            client.write_all(b"more").unwrap();
            let mut got = vec![0; body.len()];
            client.read_exact(&mut got[..1]).unwrap();
            let first = begin.elapsed();
            client.read_exact(&mut got[1..]).unwrap();
            let all = begin.elapsed();
            assert!(got == body);
            assert!(first >= Duration::from_millis(25) && all >= Duration::from_millis(75), "{first:?} {all:?}");
            assert!(all < Duration::from_millis(150), "{first:?} {all:?}");
        }
        drop(client);
        server.join().unwrap();
    }

    #[test]
    fn ends_and_resets_pass() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = Link::start(&listener);
        let mut client = TcpStream::connect(&link.address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"ask").unwrap();
        server.read_exact(&mut [0; 3]).unwrap();
        server.write_all(b"answer").unwrap();
        drop(server);
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"answer");

        let mut client = TcpStream::connect(&link.address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"ask").unwrap();
        server.write_all(b"answer").unwrap();
        client.read_exact(&mut [0; 6]).unwrap();
        // Closed with bytes that have come and that it has not read: a reset.
        server.peek(&mut [0; 3]).unwrap();
        drop(server);
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
