//! Layers that come in parts, from registries of our own: honest, old and hostile ones. As root: overlays are mounted.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headstart_base::{ErrorCode, Result};
use headstart_image::{Bounds, ImageConfig, Registry, Store};
use serde_json::{Value, json};

use crate::common::{MANIFEST, State, descriptor, digest};

/// What a registry does with a request for a part of a blob.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    Honest,
    /// Gives all of it.
    HasNoParts,
    /// Gives the first part, and all of it for others.
    Changes,
    SaysOtherRange,
    SaysNoRange,
    OtherBytes,
    Short,
    Long,
    /// Goes away in the middle.
    Cuts,
    Refuses,
    /// Never comes to an end of the first part.
    Stalls,
}

/// An image with one layer of several parts.
struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Image {
    /// `embed`: changes the manifest before it is digested, given the configuration.
    fn new(embed: impl FnOnce(&mut Value, &[u8])) -> Self {
        let content: Vec<u8> = (0..3_500_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, "content", content.as_slice()).unwrap();
        let layer = builder.into_inner().unwrap();
        let rootfs = json!({ "type": "layers", "diff_ids": [digest(&layer)] });
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs }).to_string().into_bytes();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        embed(&mut manifest, &config);
        Self { layer, config, manifest: manifest.to_string().into_bytes() }
    }

    fn reference(&self, host: &str) -> String {
        format!("{host}/image@{}", digest(&self.manifest))
    }

    fn find(&self, path: &str) -> Option<&[u8]> {
        let all = [&self.manifest, &self.config, &self.layer];
        all.into_iter().find(|bytes| path.ends_with(&digest(bytes))).map(Vec::as_slice)
    }
}

fn embedded(manifest: &mut Value, config: &[u8]) {
    manifest["config"]["data"] = STANDARD.encode(config).into();
}

type Asked = Arc<Mutex<Vec<(String, Option<Range<usize>>)>>>;

/// Serves an image, and notes what it is asked.
fn serve(image: Image, habit: Habit) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let asked = Asked::default();
    let (known, image) = (Arc::clone(&asked), Arc::new(image));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (known, image) = (Arc::clone(&known), Arc::clone(&image));
            std::thread::spawn(move || while answer(&stream, &image, habit, &known).is_some() {});
        }
    });
    (host, asked)
}

/// Answers one request. None: the connection has ended.
fn answer(mut stream: &TcpStream, image: &Image, habit: Habit, asked: &Asked) -> Option<()> {
    let lines = BufReader::new(stream).lines().map_while(std::result::Result::ok).take_while(|line| !line.is_empty());
    let lines: Vec<String> = lines.collect();
    let path = lines.first()?.split(' ').nth(1)?.to_owned();
    let range = lines.iter().find_map(|line| {
        let (first, last) = line.to_ascii_lowercase().strip_prefix("range: bytes=")?.split_once('-').map(owned)?;
        Some(first.parse::<usize>().ok()?..last.parse::<usize>().ok()? + 1)
    });
    asked.lock().unwrap().push((path.clone(), range.clone()));
    let Some(whole) = image.find(&path) else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").ok();
    };
    let Some(range) = range else { return send(stream, "200 OK", whole.len(), whole) };
    let said = format!("206 Partial Content\r\ncontent-range: bytes {}-{}/{}", range.start, range.end - 1, whole.len());
    let part = &whole[range.clone()];
    match habit {
        Habit::Honest => send(stream, &said, part.len(), part),
        Habit::HasNoParts => send(stream, "200 OK", whole.len(), whole),
        Habit::Changes if range.start > 0 => send(stream, "200 OK", whole.len(), whole),
        Habit::Changes => send(stream, &said, part.len(), part),
        Habit::SaysOtherRange => send(stream, &said.replace("bytes ", "bytes 1"), part.len(), part),
        Habit::SaysNoRange => send(stream, "206 Partial Content", part.len(), part),
        Habit::OtherBytes if range.start > 0 => send(stream, &said, part.len(), &whole[..part.len()]),
        Habit::OtherBytes => send(stream, &said, part.len(), part),
        Habit::Short => send(stream, &said, part.len() - 1, &part[1..]),
        Habit::Long => send(stream, &said, part.len() + 1, &[part, b"x"].concat()),
        Habit::Cuts => {
            send(stream, &said, part.len(), &part[..part.len() / 2]);
            stream.shutdown(std::net::Shutdown::Both).ok().and(None)
        }
        Habit::Refuses => write!(stream, "HTTP/1.1 416 No\r\ncontent-length: 2\r\n\r\nno").ok(),
        Habit::Stalls => {
            send(stream, &said, part.len(), &part[..part.len() / 2]);
            // Until the other side goes.
            let _ = BufReader::new(stream).lines().next();
            None
        }
    }
}

fn owned((first, last): (&str, &str)) -> (String, String) {
    (first.to_owned(), last.to_owned())
}

fn send(mut stream: &TcpStream, head: &str, length: usize, body: &[u8]) -> Option<()> {
    write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n").ok()?;
    stream.write_all(body).ok()
}

/// A node's images, all from one registry.
fn open(state: &State, host: &str, time: Duration) -> Result<Store> {
    fs::create_dir_all(state.path().join("images")).unwrap();
    fs::create_dir_all(state.path().join("top")).unwrap();
    let config = ImageConfig {
        folder: state.path().join("images"),
        most_bytes: 1 << 30,
        registries: vec![Registry { host: host.to_owned(), plain: true }],
        bounds: Bounds { time, ..Bounds::default() },
    };
    Store::open(config, state.path().join("top"))
}

/// Pulls an image into a new node, and gives what it has as its file.
async fn pull(state: &State, host: &str, reference: &str, time: Duration) -> Result<Vec<u8>> {
    let (image, _) = open(state, host, time)?.get(reference).await?;
    Ok(fs::read(image.root().join("content")).unwrap())
}

const PATIENT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_comes_in_parts_and_its_configuration_in_the_manifest() {
    let image = Image::new(embedded);
    let (layer, size) = (digest(&image.layer), image.layer.len());
    let content = image.layer[512..512 + 3_500_000].to_vec();
    let (named, state) = (image.reference("HOST"), State::new());
    let (host, asked) = serve(image, Habit::Honest);
    assert_eq!(pull(&state, &host, &named.replace("HOST", &host), PATIENT).await.unwrap(), content);
    let mut asked = asked.lock().unwrap().clone();
    assert!(asked.remove(0).0.contains("/manifests/"));
    let mut parts: Vec<Range<usize>> =
        asked.into_iter().filter_map(|(path, part)| path.ends_with(&layer).then_some(part?)).collect();
    parts.sort_by_key(|part| part.start);
    assert!(parts.len() > 1 && parts[0].start == 0 && parts.last().unwrap().end == size, "{parts:?}");
    assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start), "{parts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_parts_gives_the_whole_once_and_is_remembered() {
    let image = Image::new(embedded);
    let (named, layer) = (image.reference("HOST"), digest(&image.layer));
    let (host, asked) = serve(image, Habit::HasNoParts);
    let named = named.replace("HOST", &host);
    let state = State::new();
    let store = open(&state, &host, PATIENT).unwrap();
    for _ in 0..2 {
        let (pulled, took) = store.get(&named).await.unwrap();
        assert!(took.is_some() && pulled.root().join("content").is_file());
        drop(pulled);
        assert!(store.evict(named.rsplit_once(':').unwrap().1).unwrap());
    }
    let asked = asked.lock().unwrap();
    let whole = asked.iter().filter(|(path, part)| path.ends_with(&layer) && part.is_none()).count();
    assert_eq!(whole, 1, "the second time it is asked for no part: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_asked_for_only_where_the_manifest_has_none() {
    let image = Image::new(|_, _| {});
    let (named, config) = (image.reference("HOST"), digest(&image.config));
    let (host, asked) = serve(image, Habit::Honest);
    pull(&State::new(), &host, &named.replace("HOST", &host), PATIENT).await.unwrap();
    assert!(asked.lock().unwrap().iter().any(|(path, _)| path.ends_with(&config)));
    let other = |manifest: &mut Value, config: &[u8]| {
        manifest["config"]["data"] = STANDARD.encode([config, b" "].concat()).into();
    };
    let no_text = |manifest: &mut Value, _: &[u8]| manifest["config"]["data"] = "no base64".into();
    let altered = |manifest: &mut Value, config: &[u8]| {
        manifest["config"]["data"] = STANDARD.encode(config.to_ascii_uppercase()).into();
    };
    for image in [Image::new(other), Image::new(no_text), Image::new(altered)] {
        let named = image.reference("HOST");
        let (host, _) = serve(image, Habit::Honest);
        let error = pull(&State::new(), &host, &named.replace("HOST", &host), PATIENT).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::ImageInvalid, "{}", error.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_breaks_its_word_is_refused_and_leaves_nothing() {
    for (habit, code) in [
        (Habit::Changes, ErrorCode::ImagePullFailed),
        (Habit::SaysOtherRange, ErrorCode::ImageInvalid),
        (Habit::SaysNoRange, ErrorCode::ImageInvalid),
        (Habit::OtherBytes, ErrorCode::ImageInvalid),
        (Habit::Short, ErrorCode::ImageInvalid),
        (Habit::Long, ErrorCode::ImageInvalid),
        (Habit::Cuts, ErrorCode::ImagePullFailed),
        (Habit::Refuses, ErrorCode::ImagePullFailed),
        (Habit::Stalls, ErrorCode::ImagePullFailed),
    ] {
        let image = Image::new(embedded);
        let named = image.reference("HOST");
        let (host, _) = serve(image, habit);
        let state = State::new();
        // Of one that never ends, only the time of the whole pull is the end.
        let time = if habit == Habit::Stalls { Duration::from_millis(300) } else { PATIENT };
        let outcome = pull(&state, &host, &named.replace("HOST", &host), time).await.map(drop);
        assert!(outcome.as_ref().is_err_and(|error| error.code == code), "{habit:?}: {outcome:?}");
        state.is_empty_soon().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_bounded() {
    let mut image = Image::new(embedded);
    image.manifest = vec![b' '; 5 << 20];
    let named = image.reference("HOST");
    let (host, _) = serve(image, Habit::Honest);
    let error = pull(&State::new(), &host, &named.replace("HOST", &host), PATIENT).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ImageInvalid, "{}", error.message);
}
