// Fetches the model and the photo that the event names, while the application's sandbox is being set up.
use headstart::{connect, expect, input_text, json_text, log};

headstart::main!(run);

fn run() -> headstart::Result<i32> {
    expect(2)?;
    connect("s3://models")?.s3_get("efficientnet-lite0.onnx")?;

    let event = input_text();
    let key = match json_text(&event, "key") {
        Some(key) => key,
        None => {
            log("the event names no photo");
            return Ok(1);
        }
    };
    let bucket = json_text(&event, "bucket");
    connect(&["s3://", bucket.as_deref().unwrap_or("inputs")].concat())?.s3_get(&key)?;
    Ok(0)
}
