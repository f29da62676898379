@0xa5c1e83f0d2b9764;
# The initscript API (the paper's Tables 2 and 3). From this file come the runner's shim, the TypeScript declarations,
# the WASM imports (module "headstart") and the C and AssemblyScript declarations.
#
# In WASM every import returns an i32: a count or handle ≥ 0, or -(ErrorCode). The rules of the mapping:
#   UInt32 → i32; UInt64 → i64; Text and Data parameters → (pointer i32, length i32);
#   a Data result → parameters (pointer i32, capacity i32): the whole length is returned, min(length, capacity) bytes
#   are written; a struct result → parameter (pointer i32) to its fields in order, little-endian, naturally aligned;
#   $blocks → the import suspends the module (JSPI) until the result is there.
# In TypeScript: bigint | string for ids (a string is hashed: FNV-1a 64), Uint8Array | string for Data, $blocks → a promise.

annotation blocks @0xf3b1d5a7092c4e68 (method) :Void;

interface Initscript {
  connect @0 (address :Text) -> (conn :UInt32);
  # Names a destination and begins to connect. Never waits: what fails shows at the RPCs on it.

  sendRpc @1 (conn :UInt32, rpc :UInt64, request :Data) -> ();
  # Asynchronous. Errors show at recvRpcReply and at the message that carries the reply.

  recvRpcReply @2 (conn :UInt32, rpc :UInt64) -> (reply :ReplyInfo) $blocks;
  # Waits until the reply is complete.

  readReply @3 (rpc :UInt64, offset :UInt32) -> (data :Data) $blocks;
  # The bytes of a complete reply, from offset.

  sendMsg @4 (id :UInt64, data :Data) -> ();
  # Sends bytes of the script's own to the application.

  sendReply @5 (id :UInt64, rpc :UInt64) -> ();
  # SendMsg(id, reply): passes a reply on, also one that is still in flight. No byte is copied.

  expect @6 (count :UInt32) -> ();
  # Announces that this many more messages will be sent, so that an early claim waits for them.

  expectMsg @7 (id :UInt64) -> ();
  # Announces one message by its id.

  input @8 () -> (data :Data);
  # The invocation's input for the initscript. Does not wait.

  log @9 (text :Text) -> ();

  exit @10 (status :UInt32) -> ();
  # Ends the script. RPCs already sent run on.

  recvMsg @11 (id :UInt64) -> (length :UInt32) $blocks;
  # RecvMsg: waits for a message of the application's. A message is received once; its length is the result.

  readMsg @12 (id :UInt64, offset :UInt32) -> (data :Data) $blocks;
  # The bytes of a received message, from offset.

  transferConn @13 (id :UInt64, address :Text, conn :UInt32) -> ();
  # Hands a connection over: the application gets it by GetConn(id, address), and the script has it no more. RPCs on it that
  # are under way are finished first.

  getConn @14 (id :UInt64, address :Text) -> (conn :UInt32) $blocks;
  # GetConn: waits for a connection that the application hands over.

  deadline @15 (millis :UInt32) -> ();
  # The longest that each later call that waits, and each RPC sent later, may take. 0: the manifest's limits alone.

  sendRpcTo @16 (conn :UInt32, rpc :UInt64, request :Data, place :Text, offset :UInt32, room :UInt32) -> ();
  # As sendRpc, and says where the reply's body goes: place is "file:/path" of one of the manifest's files. It is received there,
  # from offset, and has at most room bytes (0: up to the file's end). No two replies have a byte of a place in common.
}

struct ReplyInfo {
  status @0 :UInt32;
  length @1 :UInt32;   # of the body
}
