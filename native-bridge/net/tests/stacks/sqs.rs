//! SQS (moto's server).

use std::io::{Read, Write};
use std::net::TcpStream;

use headstart_base::ErrorCode;
use headstart_net::{Address, Client, Store};

use crate::programs::{self, Program, ask, client};

async fn moto() -> Option<(Program, Store)> {
    let server = Program::start(programs::moto()?, |port, _| {
        vec!["-H".into(), "127.0.0.1".into(), "-p".into(), port.to_string()]
    });
    let endpoint = server.address("http");
    for name in ["jobs", "other"] {
        create(&endpoint, name);
    }
    let store = Store::new(&endpoint.to_string(), "us-east-1", "test", "test").unwrap();
    Some((server, store))
}

/// Makes a queue. moto knows the service by the signature's scope, and checks no more of it.
fn create(endpoint: &Address, name: &str) {
    let body = format!("{{\"QueueName\":\"{name}\"}}");
    let head = format!(
        "POST / HTTP/1.0\r\nhost: {}\r\nx-amz-target: AmazonSQS.CreateQueue\r\ncontent-type: application/x-amz-json-1.0\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request,SignedHeaders=host,Signature=x\r\n\
         content-length: {}\r\n\r\n",
        endpoint.host_header(),
        body.len(),
    );
    let mut tcp = TcpStream::connect((&endpoint.host[..], endpoint.port)).unwrap();
    tcp.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 200 OK"), "{answer}");
}

async fn sqs(client: &Client, store: &Store, raw: &str) -> (u16, serde_json::Value) {
    let queue = Address::parse("sqs://jobs").unwrap();
    let (done, body) = ask(client, &queue, Some(store), raw.as_bytes()).await.unwrap();
    (done.head.status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn a_task_is_claimed_and_deleted() {
    let Some((_server, store)) = moto().await else { return };
    let client = client();
    let (status, sent) = sqs(&client, &store, "SendMessage\n\n{\"MessageBody\":\"job 1\"}").await;
    assert_eq!(status, 200, "{sent}");
    let claim = "ReceiveMessage\n\n{\"MaxNumberOfMessages\":1,\"VisibilityTimeout\":60}";
    let (status, claimed) = sqs(&client, &store, claim).await;
    assert_eq!((status, &claimed["Messages"][0]["Body"]), (200, &"job 1".into()), "{claimed}");
    let (_, nothing) = sqs(&client, &store, claim).await;
    assert!(nothing["Messages"].as_array().is_none_or(Vec::is_empty), "{nothing}");
    let receipt = &claimed["Messages"][0]["ReceiptHandle"];
    let (status, _) = sqs(&client, &store, &format!("DeleteMessage\n\n{{\"ReceiptHandle\":{receipt}}}")).await;
    assert_eq!(status, 200);
    let (_, left) = sqs(&client, &store, "GetQueueAttributes\n\n{\"AttributeNames\":[\"All\"]}").await;
    assert_eq!(left["Attributes"]["ApproximateNumberOfMessagesNotVisible"], "0", "{left}");
    let (status, url) = sqs(&client, &store, "GetQueueUrl").await;
    assert!(status == 200 && url["QueueUrl"].as_str().unwrap().ends_with("/jobs"), "{url}");
}

#[tokio::test]
async fn a_queue_that_is_not_there_and_one_that_is_not_named() {
    let Some((_server, store)) = moto().await else { return };
    let missing = Address::parse("sqs://nothing").unwrap();
    let error = ask(&client(), &missing, Some(&store), b"ReceiveMessage").await.err().unwrap();
    assert_eq!(error.code, ErrorCode::NotFound);
    let jobs = Address::parse("sqs://jobs").unwrap();
    let sneaking = b"ReceiveMessage\n\n{\"QueueUrl\":\"http://localhost/123456789012/other\"}";
    let error = ask(&client(), &jobs, Some(&store), sneaking).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert_eq!(ask(&client(), &jobs, None, b"ReceiveMessage").await.err().unwrap().code, ErrorCode::UnknownSecret);
}
