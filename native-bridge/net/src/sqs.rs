//! SQS over its JSON protocol: the queue is the address, the action the request, and what names another queue is refused.

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};
use serde_json::{Map, Value};

use crate::address::Address;
use crate::line::line_and_body;
use crate::request::{Request, invalid};

/// The actions that are about one queue, the verb that each has in rules and contents, and whether it may be repeated. What hands
/// out a task never is: a lost answer may have had it.
const ACTIONS: [(&str, &str, bool); 9] = [
    ("ChangeMessageVisibility", "CHANGE", false),
    ("ChangeMessageVisibilityBatch", "CHANGE", false),
    ("DeleteMessage", "DELETE", true),
    ("DeleteMessageBatch", "DELETE", true),
    ("GetQueueAttributes", "GET", true),
    ("GetQueueUrl", "GET", true),
    ("ReceiveMessage", "RECEIVE", false),
    ("SendMessage", "SEND", false),
    ("SendMessageBatch", "SEND", false),
];

/// Members of a request that say which queue it is about: the platform's.
const OWN_MEMBERS: [&str; 3] = ["QueueName", "QueueOwnerAWSAccountId", "QueueUrl"];
/// Bytes of a queue's URL.
const MAX_URL: usize = 2048;
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// A request as a script writes it: "ReceiveMessage\n\n{…}", without the queue's URL.
pub(crate) fn request(address: &Address, raw: &[u8]) -> Result<Request> {
    let (line, body) = line_and_body(raw)?;
    named(address, &String::from_utf8_lossy(line), body)
}

/// A request as an application's call names it: "RECEIVE sqs://queue/ReceiveMessage".
pub(crate) fn absolute(address: &Address, verb: &str, path: &str, body: &[u8]) -> Result<Request> {
    let request = named(address, path.trim_start_matches('/'), body)?;
    match request.verb == verb {
        true => Ok(request),
        false => Err(invalid(&format!("the verb of {} is {}", request.path, request.verb))),
    }
}

fn named(address: &Address, name: &str, body: &[u8]) -> Result<Request> {
    let Some((action, verb, idempotent)) = ACTIONS.iter().find(|(action, ..)| *action == name.trim()) else {
        let known: Vec<&str> = ACTIONS.iter().map(|(action, ..)| *action).collect();
        let message = format!("an SQS request here is one of {}", known.join(", "));
        return Err(Error::new(ErrorCode::Unsupported, message));
    };
    let path = format!("/{action}");
    Ok(Request {
        verb: (*verb).to_owned(),
        content: format!("{verb} {address}{path}"),
        path,
        headers: Vec::new(),
        body: Bytes::copy_from_slice(body),
        idempotent: *idempotent,
        words: Vec::new(),
    })
}

/// The request for a queue's URL.
pub(crate) fn url_request(queue: &Address) -> Request {
    let body = Value::from(Map::from_iter([("QueueName".to_owned(), Value::from(queue.host.as_str()))]));
    http(&format!("GET {queue}/GetQueueUrl"), "GetQueueUrl", body.to_string(), true)
}

/// The URL in the answer to it. `notFound` when there is no such queue.
pub(crate) fn url(queue: &Address, status: u16, answer: &[u8]) -> Result<String> {
    let members: Map<String, Value> = serde_json::from_slice(answer).unwrap_or_default();
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    if status != 200 {
        let missing =
            text("__type").is_some_and(|kind| kind.contains("QueueDoesNotExist") || kind.contains("NonExistentQueue"));
        let code = if missing { ErrorCode::NotFound } else { ErrorCode::BadReply };
        return Err(Error::new(code, format!("the service does not tell the URL of {queue}: it answered {status}")));
    }
    match text("QueueUrl") {
        Some(url) if url.len() <= MAX_URL => Ok(url.to_owned()),
        _ => Err(Error::new(ErrorCode::BadReply, format!("the service does not tell the URL of {queue}"))),
    }
}

/// A request as HTTP has it. `invalidArgument` when its body is no JSON object, or names a queue.
pub(crate) fn to_http(request: &Request, queue: &Address, url: &str) -> Result<Request> {
    let mut members: Map<String, Value> = match request.body.is_empty() {
        true => Map::new(),
        false => serde_json::from_slice(&request.body).map_err(|_| invalid("its body is no JSON object"))?,
    };
    if let Some(own) = OWN_MEMBERS.iter().find(|own| members.contains_key(**own)) {
        return Err(invalid(&format!("{own} is set by the platform: the address is the queue")));
    }
    let action = request.path.trim_start_matches('/');
    let (member, value) = match action {
        "GetQueueUrl" => ("QueueName", &queue.host[..]),
        _ => ("QueueUrl", url),
    };
    members.insert(member.to_owned(), Value::from(value));
    Ok(http(&request.content, action, Value::from(members).to_string(), request.idempotent))
}

fn http(content: &str, action: &str, body: String, idempotent: bool) -> Request {
    Request {
        verb: "POST".to_owned(),
        path: "/".to_owned(),
        headers: vec![
            ("content-type".to_owned(), CONTENT_TYPE.to_owned()),
            ("x-amz-target".to_owned(), format!("AmazonSQS.{action}")),
        ],
        body: body.into(),
        content: content.to_owned(),
        idempotent,
        words: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Address {
        Address::parse("sqs://jobs").unwrap()
    }

    #[test]
    fn a_task_is_claimed_once() {
        let claim = request(&queue(), b"ReceiveMessage\n\n{\"MaxNumberOfMessages\":1}").unwrap();
        assert_eq!((claim.content.as_str(), claim.idempotent), ("RECEIVE sqs://jobs/ReceiveMessage", false));
        let (_, called) = Request::parse_absolute(b"RECEIVE sqs://jobs/ReceiveMessage\n\n").unwrap();
        assert_eq!(called.content, claim.content);
        assert!(request(&queue(), b"DeleteMessage\n\n{}").unwrap().idempotent);
    }

    #[test]
    fn the_queue_is_the_address() {
        let claim = request(&queue(), b"ReceiveMessage\n\n{\"WaitTimeSeconds\":1}").unwrap();
        let sent = to_http(&claim, &queue(), "http://h/1/jobs").unwrap();
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(body, serde_json::json!({ "QueueUrl": "http://h/1/jobs", "WaitTimeSeconds": 1 }));
        assert_eq!(sent.headers[1].1, "AmazonSQS.ReceiveMessage");
        for body in ["{\"QueueUrl\":\"x\"}", "{\"QueueName\":\"x\"}", "[]", "x", "{\"a\":1}{}"] {
            let request = request(&queue(), format!("SendMessage\n\n{body}").as_bytes()).unwrap();
            assert!(to_http(&request, &queue(), "http://h/1/jobs").is_err(), "{body}");
        }
        assert_eq!(request(&queue(), b"DeleteQueue\n\n{}").unwrap_err().code, ErrorCode::Unsupported);
    }

    #[test]
    fn reads_a_url() {
        assert_eq!(url(&queue(), 200, b"{\"QueueUrl\":\"http://h/1/jobs\"}").unwrap(), "http://h/1/jobs");
        let missing = b"{\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\"}";
        assert_eq!(url(&queue(), 400, missing).unwrap_err().code, ErrorCode::NotFound);
        for answer in ["", "[]", "{}", "{\"QueueUrl\":1}"] {
            assert_eq!(url(&queue(), 200, answer.as_bytes()).unwrap_err().code, ErrorCode::BadReply);
        }
    }
}
