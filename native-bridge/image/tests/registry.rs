//! Images against Debian's docker-registry, honest and hostile. As root: overlays are mounted.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use flate2::write::GzEncoder;
use headstart_base::ErrorCode;
use headstart_image::{ImageConfig, Store};
use serde_json::json;

use crate::common::{MANIFEST, Served, State, descriptor, digest};

struct Layer {
    plain: Vec<u8>,
    packed: Vec<u8>,
    kind: &'static str,
}

/// Pushes an image, and gives its reference. `change` may make its manifest another one.
async fn push(served: &Served, name: &str, layers: &[Layer], change: impl FnOnce(&mut serde_json::Value)) -> String {
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Env": ["GREETING=hello"], "Cmd": ["/bin/true"] },
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| digest(&layer.plain)).collect::<Vec<_>>() },
    });
    let config = config.to_string().into_bytes();
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": layers.iter().map(|layer| descriptor(layer.kind, &layer.packed)).collect::<Vec<_>>(),
    });
    change(&mut manifest);
    let blobs: Vec<&[u8]> = layers.iter().map(|layer| layer.packed.as_slice()).chain([config.as_slice()]).collect();
    served.push(name, &blobs, &manifest).await
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(files: &[(&str, &[u8])]) -> Layer {
    let plain = tar(files);
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    Layer { packed: encoder.finish().unwrap(), plain, kind: "application/vnd.oci.image.layer.v1.tar+gzip" }
}

fn plain(files: &[(&str, &[u8])]) -> Layer {
    let plain = tar(files);
    Layer { packed: plain.clone(), plain, kind: "application/vnd.oci.image.layer.v1.tar" }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_once_kept_and_dropped() {
    let (served, state) = (Served::start().await, State::new());
    let layers = [gzip(&[("etc/a", b"one"), ("etc/b", b"two")]), plain(&[("etc/.wh.a", b""), ("etc/c", b"three")])];
    let reference = push(&served, "two", &layers, |_| {}).await;
    let store = served.open(state.path());
    let tag = format!("{}/two:latest", served.host);
    assert_eq!(store.resolve(&tag).await.unwrap(), reference);

    let (one, two) = tokio::join!(store.get(&reference), store.get(&reference));
    let ((one, pulled), (two, _)) = (one.unwrap(), two.unwrap());
    assert_eq!(one.root(), two.root());
    let pulled = pulled.unwrap();
    assert_eq!((pulled.layers, pulled.unpacked), (2, 9 * 4096));
    assert_eq!(pulled.bytes, layers.iter().map(|layer| layer.packed.len() as u64).sum::<u64>());
    assert_eq!(one.defaults().env, [("GREETING".to_owned(), "hello".to_owned())]);
    let mut names: Vec<_> =
        fs::read_dir(one.root().join("etc")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["b", "c"]);
    assert!(one.root().join("app").is_dir());
    assert!(fs::write(one.root().join("etc/d"), "x").is_err());

    assert!(store.get(&reference).await.unwrap().1.is_none());
    let hex = reference.rsplit_once(':').unwrap().1.to_owned();
    assert_eq!(store.evict(&hex).unwrap_err().code, ErrorCode::ImageInUse);
    drop((one, two));
    assert!(store.evict(&hex).unwrap());
    assert!(!store.evict(&hex).unwrap());
    assert_eq!(
        [state.names("layers"), state.names("roots"), state.names("records")],
        [const { Vec::<String>::new() }; 3]
    );

    // The next life has it without the registry.
    drop(store.get(&reference).await.unwrap());
    store.close();
    fs::create_dir(state.path().join("images/layers/.incoming-1-1")).unwrap();
    fs::create_dir(state.path().join("images/layers").join("0".repeat(64))).unwrap();
    let store = served.open(state.path());
    let (image, pulled) = store.get(&reference).await.unwrap();
    assert!(pulled.is_none() && image.root().join("etc/b").is_file());
    assert_eq!(state.names("layers").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_used_is_collected() {
    let (served, state) = (Served::start().await, State::new());
    let shared = || gzip(&[("shared", &[1; 1000])]);
    let one = push(&served, "one", &[shared(), gzip(&[("own", &[2; 5000])])], |_| {}).await;
    let two = push(&served, "two", &[shared(), gzip(&[("own", &[3; 5000])])], |_| {}).await;
    fs::create_dir_all(state.path().join("images")).unwrap();
    fs::create_dir_all(state.path().join("top")).unwrap();
    let config = ImageConfig { most_bytes: 30_000, ..served.config(state.path()) };
    let store = Store::open(config, state.path().join("top")).unwrap();
    let held = store.get(&one).await.unwrap().0;
    // Nothing that is in use is collected, whatever the limit.
    let other = store.get(&two).await.unwrap().0;
    assert_eq!(store.list().len(), 2);
    drop(held);
    drop(other);
    // A pull collects.
    let three = push(&served, "three", &[gzip(&[("own", &[4; 100])])], |_| {}).await;
    let kept = store.get(&three).await.unwrap().0;
    let listed: Vec<String> = store.list().into_iter().map(|listed| listed.reference).collect();
    assert!(listed.contains(&two) && !listed.contains(&one), "{listed:?}");
    // The layer that both had is there still.
    assert!(store.get(&two).await.unwrap().0.root().join("shared").is_file());
    assert!(kept.root().join("own").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_it_should_be_is_refused_and_leaves_nothing() {
    let (served, state) = (Served::start().await, State::new());
    let store = served.open(state.path());
    let big = vec![7; 300_000];
    let layer = |name: &str| plain(&[(name, &big)]);
    let truncated = layer("truncated");
    let altered = layer("altered");
    let truncated_image = push(&served, "truncated", &[gzip(&[("fine", b"x")]), layer("truncated")], |_| {}).await;
    let altered_image = push(&served, "altered", &[layer("altered")], |_| {}).await;
    fs::write(served.blob(&digest(&truncated.packed)), &truncated.packed[..200_000]).unwrap();
    let mut other = altered.packed.clone();
    other[100_000] ^= 1;
    fs::write(served.blob(&digest(&altered.packed)), other).unwrap();

    let bomb = vec![0; 17 << 20];
    let many: Vec<String> = (0..1001).map(|number| format!("f{number}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let longer = push(&served, "longer", &[layer("a")], |it| it["layers"][0]["size"] = json!(1000)).await;
    let shorter = push(&served, "shorter", &[layer("b")], |it| it["layers"][0]["size"] = json!(10_000_000)).await;
    let huge = push(&served, "huge", &[layer("c")], |it| it["layers"][0]["size"] = json!(1_u64 << 40)).await;
    let negative = push(&served, "negative", &[layer("d")], |it| it["layers"][0]["size"] = json!(-1)).await;
    let kind = push(&served, "kind", &[layer("e")], |it| it["layers"][0]["mediaType"] = json!("text/plain")).await;
    let wrong = [layer("f")];
    let packing = push(&served, "packing", &wrong, |it| {
        it["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
    });
    let packing = packing.await;
    let mut lie = gzip(&[("g", b"x")]);
    lie.plain = b"another".to_vec();
    let lie = push(&served, "lie", &[lie], |_| {}).await;
    let bomb = push(&served, "bomb", &[gzip(&[("zeros", &bomb)])], |_| {}).await;
    let many = push(&served, "many", &[gzip(&many)], |_| {}).await;
    let escape = push(&served, "escape", &[gzip(&[("../../../escape", b"x")])], |_| {}).await;
    for (image, code) in [
        (&truncated_image, ErrorCode::ImageInvalid),
        (&altered_image, ErrorCode::ImageInvalid),
        (&longer, ErrorCode::ImageInvalid),
        (&shorter, ErrorCode::ImageInvalid),
        (&huge, ErrorCode::ImageInvalid),
        (&negative, ErrorCode::ImageInvalid),
        (&kind, ErrorCode::ImageInvalid),
        (&packing, ErrorCode::ImageInvalid),
        (&lie, ErrorCode::ImageInvalid),
        (&bomb, ErrorCode::ImageInvalid),
        (&many, ErrorCode::ImageInvalid),
        (&escape, ErrorCode::ImageInvalid),
    ] {
        let outcome = store.get(image).await.map(drop);
        assert!(outcome.as_ref().is_err_and(|error| error.code == code), "{image}: {outcome:?}");
    }
    let gone = format!("{}/none@sha256:{}", served.host, "0".repeat(64));
    assert_eq!(store.get(&gone).await.unwrap_err().code, ErrorCode::ImagePullFailed);
    let stranger = format!("127.0.0.1:1/none@sha256:{}", "0".repeat(64));
    assert_eq!(store.get(&stranger).await.unwrap_err().code, ErrorCode::ImagePullFailed);
    let tag = format!("{}/lie:latest", served.host);
    assert_eq!(store.get(&tag).await.unwrap_err().code, ErrorCode::InvalidArgument);
    assert!(store.list().is_empty());
    // Not even what was unpacked well beside what was not.
    state.is_empty_soon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_mounted_leaves_nothing() {
    let (served, state) = (Served::start().await, State::new());
    let store = served.open(state.path());
    let shared = || gzip(&[("shared", b"x")]);
    let one = push(&served, "one", &[shared()], |_| {}).await;
    let two = push(&served, "two", &[shared(), gzip(&[("own", b"y")])], |_| {}).await;
    let top = state.path().join("top");
    let away = state.path().join("away");
    fs::rename(&top, &away).unwrap();
    assert!(store.get(&two).await.is_err());
    state.is_empty_soon().await;
    fs::rename(&away, &top).unwrap();
    let held = store.get(&one).await.unwrap().0;
    fs::rename(&top, &away).unwrap();
    assert!(store.get(&two).await.is_err());
    fs::rename(&away, &top).unwrap();
    // The layer that the other one has is there still.
    assert!(held.root().join("shared").is_file());
    assert_eq!(state.names("records").len(), 1);
    let image = store.get(&two).await.unwrap().0;
    assert!(image.root().join("shared").is_file() && image.root().join("own").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_whom_an_image_names() {
    let (served, state) = (Served::start().await, State::new());
    let store = served.open(state.path());
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let urls = json!([format!("http://{}/secret", elsewhere.local_addr().unwrap())]);
    let layer = gzip(&[("a", b"x")]);
    let of_layer = push(&served, "layer", &[gzip(&[("a", b"x")])], |it| it["layers"][0]["urls"] = urls.clone()).await;
    let mut config = String::new();
    let other = [gzip(&[("b", b"y")])];
    let of_config = push(&served, "config", &other, |it| {
        it["config"]["urls"] = urls.clone();
        config = it["config"]["digest"].as_str().unwrap().to_owned();
    });
    let of_config = of_config.await;
    fs::remove_file(served.blob(&digest(&layer.packed))).unwrap();
    fs::remove_file(served.blob(&config)).unwrap();
    for image in [of_layer, of_config] {
        let code = store.get(&image).await.map(drop).unwrap_err().code;
        let asked = elsewhere.accept().map(drop).map_err(|error| error.kind());
        assert_eq!((code, asked), (ErrorCode::ImagePullFailed, Err(std::io::ErrorKind::WouldBlock)));
    }
    state.is_empty_soon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_nobody_waits_for_any_more_leaves_nothing() {
    let (served, state) = (Served::start().await, State::new());
    let store = served.open(state.path());
    let content: Vec<u8> = (0..8_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let reference = push(&served, "large", &[gzip(&[("content", &content)])], |_| {}).await;
    for millis in [0, 1, 3, 10, 20] {
        let _ = tokio::time::timeout(Duration::from_millis(millis), store.get(&reference)).await;
    }
    let patient = store.get(&reference);
    // Who goes does not end it for who stays.
    let (hasty, patient) = tokio::join!(tokio::time::timeout(Duration::from_millis(2), store.get(&reference)), patient);
    drop(hasty);
    assert_eq!(fs::read(patient.unwrap().0.root().join("content")).unwrap(), content);
    for _ in 0..100 {
        if state.names("layers").len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(state.names("layers").len(), 1);
}

/// The machine goes down, not the process: what it had in its memory is not there.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_not_on_the_disk_yet_is_pulled_again_by_another_boot() {
    let (served, state) = (Served::start().await, State::new());
    let reference = push(&served, "one", &[gzip(&[("a", b"one")])], |_| {}).await;
    let record = state.path().join("images/records").join(format!("{}.json", reference.rsplit(':').next().unwrap()));
    let lives = async |settle: bool| {
        let store = served.open(state.path());
        let (image, pulled) = store.get(&reference).await.unwrap();
        assert_eq!(fs::read(image.root().join("a")).unwrap(), b"one");
        if settle {
            store.settle().unwrap();
        }
        drop(image);
        store.close();
        pulled.is_some()
    };
    let another_boot = || {
        let text = fs::read_to_string(&record).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        if json["boot"].is_string() {
            json["boot"] = "another".into();
        }
        fs::write(&record, json.to_string()).unwrap();
    };
    assert!(lives(false).await);
    assert!(!lives(false).await, "the machine is still up");
    another_boot();
    assert!(lives(true).await, "its files may not be there");
    another_boot();
    assert!(!lives(false).await, "they are on the disk");
    assert_eq!(fs::read_dir(record.parent().unwrap()).unwrap().count(), 1);
}
