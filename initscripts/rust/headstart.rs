//! headstart in Rust: a thin layer over the imports (generated/imports.rs).
//!
//! ```ignore
//! headstart::main!(run);
//!
//! fn run() -> headstart::Result {
//!     headstart::expect(1)?;
//!     headstart::connect("s3://models")?.s3_get("weights.onnx")?;
//!     Ok(())
//! }
//! ```
//!
//! An id is a number that both sides know; [`fnv1a64`] makes one of a text.

include!("generated/imports.rs");

mod heap;
mod json;

use std::fmt;

pub use json::text as json_text;

pub type Result<T = ()> = std::result::Result<T, ErrorCode>;

/// What a script's main function may give: its exit status.
pub trait Status {
    fn status(self) -> i32;
}

impl Status for () {
    fn status(self) -> i32 {
        0
    }
}

impl Status for i32 {
    fn status(self) -> i32 {
        self
    }
}

/// An error's number is the exit status.
impl<T: Status> Status for Result<T> {
    fn status(self) -> i32 {
        match self {
            Ok(status) => status.status(),
            Err(ErrorCode(number)) => number as i32,
        }
    }
}

/// Names the function where the initscript begins.
#[macro_export]
macro_rules! main {
    ($function:path) => {
        #[no_mangle]
        pub extern "C" fn headstart_main() -> i32 {
            $crate::Status::status($function())
        }
    };
}

/// From now on a panic is told to the log before it traps. Makes a module some 4 KB larger.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| log(&panic.to_string())));
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        write!(to, "ErrorCode({})", self.0)
    }
}

fn check(result: i32) -> Result<u32> {
    if result < 0 {
        Err(ErrorCode(result.unsigned_abs()))
    } else {
        Ok(result as u32)
    }
}

/// A connection of the script's own, and the address that it was made for.
pub struct Connection {
    handle: u32,
    address: String,
}

/// Connects to an address such as "s3://bucket". Never waits: what fails shows at the RPCs on it.
pub fn connect(address: &str) -> Result<Connection> {
    // SAFETY: the pointer and the length are those of a live text.
    let handle = check(unsafe { imports::connect(address.as_ptr(), address.len() as u32) })?;
    Ok(Connection { handle, address: address.to_owned() })
}

/// Waits for a connection that the application hands over.
pub fn get_conn(id: u64, address: &str) -> Result<Connection> {
    // SAFETY: as in `connect`.
    let handle = check(unsafe { imports::get_conn(id, address.as_ptr(), address.len() as u32) })?;
    Ok(Connection { handle, address: address.to_owned() })
}

impl Connection {
    /// The connection with a number that a call gave. The host refuses one that it does not know.
    pub fn of(handle: u32, address: &str) -> Connection {
        Connection { handle, address: address.to_owned() }
    }

    /// The number by which the host knows it.
    pub fn handle(&self) -> u32 {
        self.handle
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends an RPC in the protocol's own form: "VERB path\nname: value\n\nbody". Errors show at its reply.
    pub fn send(&self, rpc: u64, request: impl AsRef<[u8]>) -> Result {
        let request = request.as_ref();
        // SAFETY: the pointer and the length are those of live bytes.
        check(unsafe { imports::send_rpc(self.handle, rpc, request.as_ptr(), request.len() as u32) })?;
        Ok(())
    }

    /// The same; the reply is received in a file of the application's, "file:/path", from `offset`. `room` 0: up to its end.
    pub fn send_to(&self, rpc: u64, request: impl AsRef<[u8]>, place: &str, offset: u32, room: u32) -> Result {
        let request = request.as_ref();
        let (length, place_length) = (request.len() as u32, place.len() as u32);
        // SAFETY: the pointers and the lengths are those of live bytes.
        check(unsafe {
            imports::send_rpc_to(self.handle, rpc, request.as_ptr(), length, place.as_ptr(), place_length, offset, room)
        })?;
        Ok(())
    }

    /// Waits until a reply is complete.
    pub fn recv_reply(&self, rpc: u64) -> Result<ReplyInfo> {
        let mut reply = ReplyInfo::default();
        // SAFETY: `reply` lives, and has the layout that the host writes.
        check(unsafe { imports::recv_rpc_reply(self.handle, rpc, &mut reply) })?;
        Ok(reply)
    }

    /// Fetches an object ahead: the reply is passed on, while it is still in flight, under the id that the application's
    /// storage library claims: the hash of "GET s3://bucket/key". Gives that id.
    pub fn s3_get(&self, key: &str) -> Result<u64> {
        let path = escape_path(key);
        let id = fnv1a64(&["GET ", &self.address, &path].concat());
        self.send(id, ["GET ", &path, "\n\n"].concat())?;
        send_reply(id, id)?;
        Ok(id)
    }

    /// The same; the object is received in a file of the application's, as [`Connection::send_to`] says.
    pub fn s3_get_to(&self, key: &str, place: &str, offset: u32, room: u32) -> Result<u64> {
        let path = escape_path(key);
        let id = fnv1a64(&["GET ", &self.address, &path].concat());
        self.send_to(id, ["GET ", &path, "\n\n"].concat(), place, offset, room)?;
        send_reply(id, id)?;
        Ok(id)
    }

    /// Hands it over: the application gets it by this id and address.
    pub fn transfer(self, id: u64, address: &str) -> Result {
        // SAFETY: as in `connect`.
        check(unsafe { imports::transfer_conn(id, address.as_ptr(), address.len() as u32, self.handle) })?;
        Ok(())
    }
}

/// Bytes of a complete reply, from `offset`: how many there are, of which as many are written as there is room.
pub fn read_reply(rpc: u64, offset: u32, into: &mut [u8]) -> Result<usize> {
    // SAFETY: the pointer and the capacity are those of `into`, which nobody else has.
    let length = check(unsafe { imports::read_reply(rpc, offset, into.as_mut_ptr(), into.len() as u32) })?;
    Ok(length as usize)
}

/// The whole body of a reply; waits until it is complete.
pub fn reply(rpc: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; read_reply(rpc, 0, &mut [])?];
    read_reply(rpc, 0, &mut bytes)?;
    Ok(bytes)
}

/// Sends bytes of the script's own to the application.
pub fn send_msg(id: u64, data: impl AsRef<[u8]>) -> Result {
    let data = data.as_ref();
    // SAFETY: the pointer and the length are those of live bytes.
    check(unsafe { imports::send_msg(id, data.as_ptr(), data.len() as u32) })?;
    Ok(())
}

/// Passes a reply on, also one that is still in flight. No byte is copied.
pub fn send_reply(id: u64, rpc: u64) -> Result {
    // SAFETY: takes no memory.
    check(unsafe { imports::send_reply(id, rpc) })?;
    Ok(())
}

/// Waits for a message of the application's; its length.
pub fn recv_msg(id: u64) -> Result<usize> {
    // SAFETY: takes no memory.
    Ok(check(unsafe { imports::recv_msg(id) })? as usize)
}

/// As [`read_reply`], of a message that was received.
pub fn read_msg(id: u64, offset: u32, into: &mut [u8]) -> Result<usize> {
    // SAFETY: as in `read_reply`.
    let length = check(unsafe { imports::read_msg(id, offset, into.as_mut_ptr(), into.len() as u32) })?;
    Ok(length as usize)
}

/// Waits for a message of the application's; its bytes.
pub fn receive(id: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; recv_msg(id)?];
    read_msg(id, 0, &mut bytes)?;
    Ok(bytes)
}

/// Announces that this many more messages will be sent, so that an early claim waits for them.
pub fn expect(count: u32) -> Result {
    // SAFETY: takes no memory.
    check(unsafe { imports::expect(count) })?;
    Ok(())
}

/// Announces one message by its id.
pub fn expect_msg(id: u64) -> Result {
    // SAFETY: takes no memory.
    check(unsafe { imports::expect_msg(id) })?;
    Ok(())
}

/// The longest that each later call that waits, and each RPC sent later, may take. 0: the manifest's limits alone.
pub fn deadline(millis: u32) -> Result {
    // SAFETY: takes no memory.
    check(unsafe { imports::deadline(millis) })?;
    Ok(())
}

/// The invocation's input for the initscript.
pub fn input() -> Vec<u8> {
    // SAFETY: nothing is written where there is no capacity; then as much as there is room.
    unsafe {
        let length = check(imports::input(std::ptr::null_mut(), 0)).unwrap_or(0);
        let mut bytes = vec![0; length as usize];
        imports::input(bytes.as_mut_ptr(), length);
        bytes
    }
}

/// The same as text; empty when it is none.
pub fn input_text() -> String {
    String::from_utf8(input()).unwrap_or_default()
}

pub fn log(text: &str) {
    // SAFETY: the pointer and the length are those of a live text.
    unsafe { imports::log(text.as_ptr(), text.len() as u32) };
}

/// Ends the script. RPCs already sent run on.
pub fn exit(status: u32) -> ! {
    // SAFETY: takes no memory, and does not come back.
    unsafe { imports::exit(status) };
    unreachable!()
}

/// FNV-1a 64 of a text's UTF-8 bytes: its id.
pub fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xcbf29ce484222325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100000001b3))
}

/// A key as the path of its URL: percent-encoded once, with one slash before it.
fn escape_path(key: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut path = String::from("/");
    for byte in key.trim_start_matches('/').bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push('%');
            path.push(char::from(HEX[usize::from(byte >> 4)]));
            path.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    path
}
