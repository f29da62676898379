//! memcached (Debian's).

use std::sync::Arc;

use crate::programs::{Program, client, installed, say, soon};

fn memcached() -> Option<Program> {
    let command = installed("memcached")?;
    Some(Program::start(command, |port, _| {
        let port = port.to_string();
        // As root it wants to know whose it should be.
        ["-p", &port, "-U", "0", "-l", "127.0.0.1", "-u", "root", "-I", "4m"].map(str::to_owned).to_vec()
    }))
}

#[tokio::test]
async fn values_come_back() {
    let Some(server) = memcached() else { return };
    let session = client().open("t", &server.address("memcached"), None, soon()).await.unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    assert_eq!(say(&session, [&b"ms large T60\n\n"[..], &large].concat()).await, (0, vec![]));
    assert_eq!(say(&session, "mg large").await, (0, large));
    assert_eq!(say(&session, "mg nothing v").await, (2, vec![]));
    assert_eq!(say(&session, "ms empty").await.0, 0);
    assert_eq!(say(&session, "mg empty v t").await, (0, vec![]));
    assert_eq!(say(&session, "ms large ME\n\nx").await, (1, b"NS".to_vec()), "add, not set");
    assert_eq!(say(&session, "ms n\n\n5").await.0, 0);
    assert_eq!(say(&session, "ma n v").await, (0, b"6".to_vec()));
    assert_eq!(say(&session, "md n").await.0, 0);
    assert_eq!(say(&session, "md n").await.0, 2);
    assert_eq!(say(&session, "mg k bad-flag-%%").await.0, 1);
    let too_large = vec![b'x'; 5 << 20];
    assert_eq!(say(&session, [&b"ms toolarge\n\n"[..], &too_large].concat()).await.0, 1);
    assert_eq!(say(&session, "mn").await, (0, vec![]), "and the connection goes on");
    session.alive().unwrap();
}

#[tokio::test]
async fn many_commands_are_answered_in_order() {
    let Some(server) = memcached() else { return };
    let session = Arc::new(client().open("t", &server.address("memcached"), None, soon()).await.unwrap());
    say(&session, "ms n\n\n0").await;
    let mut asking = Vec::new();
    for number in 1..=200 {
        let session = Arc::clone(&session);
        asking.push(tokio::spawn(async move { say(&session, "ma n v").await == (0, number.to_string().into_bytes()) }));
        tokio::task::yield_now().await;
    }
    for asking in asking {
        assert!(asking.await.unwrap());
    }
}
