//! Initscripts in Debian's docker-registry, honest and hostile, and in one that wants tokens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headstart_base::ErrorCode;
use headstart_image::{Format, ImageConfig, Layer, Registry, Store};
use serde_json::{Value, json};

use crate::common::{MANIFEST, Served, State, descriptor, digest};

const CONFIG: &str = "application/vnd.headstart.initscript.config.v1+json";
const WASM: &str = "application/vnd.headstart.initscript.v1.wasm";
const JS: &str = "application/vnd.headstart.initscript.v1.js";
const METERED: &str = "application/vnd.headstart.initscript.v1.metered.wasm";
const SCRIPT: &[u8] = b"what is no module is refused by whom it is given to";

fn blob(digest: &str, bytes: usize) -> Layer {
    Layer { digest: digest.to_owned(), bytes: bytes as u64, embedded: false }
}

/// Pushes a script, and gives its reference. `change` may make its manifest another one.
async fn push(served: &Served, name: &str, script: &[u8], change: impl FnOnce(&mut Value)) -> String {
    let config = br#"{"format":"wasm"}"#;
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.headstart.initscript.v1",
        "config": descriptor(CONFIG, config),
        "layers": [descriptor(WASM, script)],
    });
    change(&mut manifest);
    served.push(name, &[config, script], &manifest).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_found_by_its_tag_and_downloaded_by_its_digest() {
    let (served, state) = (Served::start().await, State::new());
    let store = served.open(state.path());
    let artifact = push(&served, "init", SCRIPT, |_| {}).await;
    let script = store.find_script(&format!("{}/init:latest", served.host)).await.unwrap();
    assert_eq!((&script.artifact, script.format), (&artifact, Format::Wasm));
    let layer = |bytes: &[u8]| blob(&digest(bytes), bytes.len());
    assert_eq!((&script.script, &script.metered), (&layer(SCRIPT), &None));
    assert_eq!(script.config, r#"{"format":"wasm"}"#);
    // A node that has just started knows of no manifest.
    let store = served.open(state.path());
    let downloaded = store.download_script(&script.artifact, &script.script).await.unwrap();
    assert_eq!(downloaded.content, SCRIPT);
    assert!(downloaded.begun_at < downloaded.done_at);
    let js = push(&served, "js", SCRIPT, |it| it["layers"][0]["mediaType"] = json!(JS)).await;
    assert_eq!(store.find_script(&js).await.unwrap().format, Format::Js);
    let metered = push(&served, "metered", SCRIPT, |it| {
        it["layers"].as_array_mut().unwrap().push(descriptor(METERED, SCRIPT));
    });
    assert_eq!(store.find_script(&metered.await).await.unwrap().metered, Some(layer(SCRIPT)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_its_manifest_embeds_comes_with_that() {
    let (served, state) = (Served::start().await, State::new());
    let store = served.open(state.path());
    let data = |bytes: &[u8]| json!(STANDARD.encode(bytes));
    let artifact = push(&served, "init", SCRIPT, |it| it["layers"][0]["data"] = data(SCRIPT)).await;
    let found = store.find_script(&artifact).await.unwrap().script;
    assert_eq!(found, Layer { embedded: true, ..blob(&digest(SCRIPT), SCRIPT.len()) });
    let other = push(&served, "other", SCRIPT, |it| it["layers"][0]["data"] = data(b"something else")).await;
    let plain = push(&served, "plain", SCRIPT, |_| {}).await;
    fs::remove_file(served.blob(&digest(SCRIPT))).unwrap();
    assert_eq!(store.download_script(&artifact, &found).await.unwrap().content, SCRIPT);
    let code = async |artifact: &str| store.download_script(artifact, &found).await.map(drop).unwrap_err().code;
    assert_eq!(code(&other).await, ErrorCode::ImageInvalid);
    // The blob is asked for then.
    assert_eq!(code(&plain).await, ErrorCode::ImagePullFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_script_is_refused() {
    let (served, state) = (Served::start().await, State::new());
    let store = served.open(state.path());
    let image = push(&served, "image", SCRIPT, |it| {
        it["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    });
    let two = push(&served, "two", SCRIPT, |it| {
        let layer = it["layers"][0].clone();
        it["layers"].as_array_mut().unwrap().push(layer);
    });
    let metered = push(&served, "js", SCRIPT, |it| {
        it["layers"][0]["mediaType"] = json!(JS);
        it["layers"].as_array_mut().unwrap().push(descriptor(METERED, SCRIPT));
    });
    let none = push(&served, "none", SCRIPT, |it| it["layers"] = json!([]));
    let kind = push(&served, "kind", SCRIPT, |it| it["layers"][0]["mediaType"] = json!("application/wasm"));
    let huge = push(&served, "huge", SCRIPT, |it| it["layers"][0]["size"] = json!(5 << 20));
    let negative = push(&served, "negative", SCRIPT, |it| it["layers"][0]["size"] = json!(-1));
    for artifact in [image.await, two.await, metered.await, none.await, kind.await, huge.await, negative.await] {
        let outcome = store.find_script(&artifact).await.map(drop);
        assert!(outcome.as_ref().is_err_and(|error| error.code == ErrorCode::ImageInvalid), "{artifact}: {outcome:?}");
    }
    let code = async |artifact: String| store.find_script(&artifact).await.map(drop).unwrap_err().code;
    assert_eq!(code(format!("{}/missing:latest", served.host)).await, ErrorCode::ImagePullFailed);
    assert_eq!(code("registry.invalid/init:latest".to_owned()).await, ErrorCode::ImagePullFailed);
    assert_eq!(code("init".to_owned()).await, ErrorCode::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_come_as_it_was_deployed_is_refused() {
    let (served, state) = (Served::start().await, State::new());
    let store = served.open(state.path());
    let (cut, altered) = ([SCRIPT, b" cut"].concat(), [SCRIPT, b" altered"].concat());
    let artifact = push(&served, "init", SCRIPT, |_| {}).await;
    push(&served, "init", &cut, |_| {}).await;
    push(&served, "init", &altered, |_| {}).await;
    fs::write(served.blob(&digest(&cut)), &cut[..10]).unwrap();
    fs::write(served.blob(&digest(&altered)), vec![b'x'; altered.len()]).unwrap();
    let code = async |digest: &str, bytes: usize| {
        store.download_script(&artifact, &blob(digest, bytes)).await.map(drop).unwrap_err().code
    };
    assert_eq!(code(&digest(SCRIPT), SCRIPT.len() - 1).await, ErrorCode::ImageInvalid);
    assert_eq!(code(&digest(SCRIPT), SCRIPT.len() + 1).await, ErrorCode::ImageInvalid);
    assert_eq!(code(&digest(SCRIPT), 5 << 20).await, ErrorCode::ImageInvalid);
    assert_eq!(code(&digest(&cut), cut.len()).await, ErrorCode::ImageInvalid);
    assert_eq!(code(&digest(&altered), altered.len()).await, ErrorCode::ImageInvalid);
    assert_eq!(code(&digest(b"missing"), 7).await, ErrorCode::ImagePullFailed);
    assert_eq!(code("sha256:../../etc/passwd", 7).await, ErrorCode::InvalidArgument);
    drop(served);
    assert_eq!(code(&digest(SCRIPT), SCRIPT.len()).await, ErrorCode::ImagePullFailed);
}

/// A registry that gives blobs only to who has its token, and notes what it is asked. `cut`: it goes away in mid-blob.
fn guarded(cut: bool) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (known, realm) = (Arc::clone(&asked), format!("http://{host}/token"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (known, realm) = (Arc::clone(&known), realm.clone());
            std::thread::spawn(move || while answer(&stream, &known, &realm, cut).is_some() {});
        }
    });
    (host, asked)
}

/// Answers one request. None: the connection has ended.
fn answer(stream: &TcpStream, asked: &Mutex<Vec<String>>, realm: &str, cut: bool) -> Option<()> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let lines: Vec<String> = lines.collect();
    let path = lines.first()?.split(' ').nth(1)?;
    let has_token = lines.iter().any(|line| line.eq_ignore_ascii_case("authorization: Bearer secret"));
    asked.lock().unwrap().push(path.split('?').next()?.to_owned());
    let (head, body) = if path.starts_with("/token") {
        ("200 OK".to_owned(), r#"{"token":"secret"}"#.as_bytes())
    } else if has_token {
        ("200 OK".to_owned(), SCRIPT)
    } else {
        (format!("401 Unauthorized\r\nwww-authenticate: Bearer realm=\"{realm}\",service=\"test\""), &b"{}"[..])
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).ok()?;
    let whole = !(cut && body == SCRIPT);
    stream.write_all(if whole { body } else { &body[..9] }).ok()?;
    if whole { Some(()) } else { stream.shutdown(std::net::Shutdown::Both).ok().and(None) }
}

fn open(state: &State, host: &str) -> Store {
    fs::create_dir_all(state.path().join("images")).unwrap();
    let config = ImageConfig {
        folder: state.path().join("images"),
        most_bytes: 1 << 20,
        registries: vec![Registry { host: host.to_owned(), plain: true }],
        bounds: headstart_image::Bounds::default(),
    };
    Store::open(config, state.path().join("top")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_a_token_is_asked_without_one_once() {
    let (host, asked) = guarded(false);
    let state = State::new();
    let store = open(&state, &host);
    let artifact = format!("{host}/init@{}", digest(b"manifest"));
    for _ in 0..2 {
        let it = store.download_script(&artifact, &blob(&digest(SCRIPT), SCRIPT.len())).await.unwrap();
        assert_eq!(it.content, SCRIPT);
    }
    let blob = format!("/v2/init/blobs/{}", digest(SCRIPT));
    assert_eq!(*asked.lock().unwrap(), [blob.as_str(), "/v2/", "/token", &blob, &blob]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_goes_away_in_mid_blob_is_said_to() {
    let (host, _) = guarded(true);
    let state = State::new();
    let store = open(&state, &host);
    let artifact = format!("{host}/init@{}", digest(b"manifest"));
    let outcome = store.download_script(&artifact, &blob(&digest(SCRIPT), SCRIPT.len())).await;
    assert_eq!(outcome.map(drop).unwrap_err().code, ErrorCode::ImagePullFailed);
}
