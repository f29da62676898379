// Every call of the API: see calls.ts.
use headstart::*;

headstart::main!(run);

fn fetch(event: &str) -> Result<i32> {
    expect(2)?;
    expect_msg(7)?;
    let store = connect("s3://inputs")?;
    store.send(u64::MAX, "GET /x\n\n")?;
    let reply = store.recv_reply(u64::MAX)?;
    let mut body = vec![0; reply.length as usize - 1];
    read_reply(u64::MAX, 1, &mut body)?;
    send_msg(5, body)?;
    send_reply(6, u64::MAX)?;
    send_msg(7, event)?;
    store.s3_get("/a b/é!.png")?;
    log("done");
    Ok(if reply.status == 200 { 0 } else { reply.status as i32 })
}

fn place() -> Result<i32> {
    expect(2)?;
    let store = connect("s3://inputs")?;
    store.s3_get_to("x", "file:/tmp/shared", 4096, 100)?;
    store.send_to(1, "GET /x\n\n", "file:/tmp/shared", 4195, 0)?;
    send_reply(1, 1)?;
    Ok(0)
}

fn echo() -> Result<i32> {
    expect(1)?;
    deadline(5000)?;
    send_msg(fnv1a64("answer"), receive(fnv1a64("question"))?)?;
    Ok(0)
}

fn hand_over(address: &str) -> Result<i32> {
    expect(1)?;
    let server = connect(&[address, "?frame=line"].concat())?;
    server.send(1, "one")?;
    server.recv_reply(1)?;
    server.transfer(1, address)?;
    Ok(0)
}

fn take_over(address: &str) -> Result<i32> {
    expect(2)?;
    deadline(5000)?;
    let framed = [address, "?frame=line"].concat();
    connect(&framed)?.transfer(1, address)?;
    let back = get_conn(2, &framed)?;
    back.send(1, "taken")?;
    send_reply(fnv1a64("said"), 1)?;
    Ok(0)
}

struct Codes(String);

impl Codes {
    fn tell<T>(&mut self, result: Result<T>) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        let ErrorCode(number) = result.err().unwrap_or(ErrorCode::OK);
        self.0.push_str(&number.to_string());
    }
}

fn fail() -> Result<i32> {
    let mut codes = Codes(String::new());
    let huge = vec![0; (1 << 20) + 1];
    let mut small = [0; 8];
    expect(2)?;
    let store = connect("s3://inputs")?;
    let conn = store.handle();
    codes.tell(Connection::of(99, "").send(1, "GET /x\n\n"));
    codes.tell(Connection::of(99, "").recv_reply(1));
    codes.tell(store.recv_reply(1));
    codes.tell(read_reply(1, 0, &mut small));
    codes.tell(store.send(2, &huge));
    codes.tell(send_msg(2, &huge));
    codes.tell(connect(&["s3://", &"x".repeat(4096)].concat()));
    codes.tell(Connection::of(99, "").transfer(1, "s3://inputs"));
    codes.tell(read_msg(1, 0, &mut small));
    store.send(3, "GET /x\n\n")?;
    codes.tell(store.send(3, "GET /y\n\n"));
    codes.tell(store.recv_reply(3));
    codes.tell(read_reply(3, 1000, &mut small));
    send_msg(fnv1a64("empty"), "")?;
    send_msg(fnv1a64("empty"), "again")?;
    deadline(30)?;
    codes.tell(recv_msg(fnv1a64("never")));
    codes.tell(get_conn(1, "tcp://nowhere:1"));
    deadline(0)?;
    store.transfer(1, "s3://inputs")?;
    codes.tell(Connection::of(conn, "").send(4, "GET /x\n\n"));
    codes.tell(Connection::of(conn, "").transfer(2, "s3://inputs"));
    send_msg(fnv1a64("errors"), codes.0)?;
    Ok(0)
}

fn run() -> Result<i32> {
    let event = input_text();
    let mode = json_text(&event, "mode").unwrap_or_default();
    let address = json_text(&event, "address").unwrap_or_default();
    match mode.as_str() {
        "fetch" => return fetch(&event),
        "place" => return place(),
        "echo" => return echo(),
        "hand over" => return hand_over(&address),
        "take over" => return take_over(&address),
        "fail" => return fail(),
        "exit" => exit(3),
        "many" => (0..10_000).try_for_each(expect_msg)?,
        "too many" => (0..10_001).try_for_each(expect_msg)?,
        "trap" => {
            log("about to trap");
            panic!("as the test wants it");
        }
        _ => {}
    }
    Ok(0)
}
