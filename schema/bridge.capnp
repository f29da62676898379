@0xb8f0c2d63e714a95;
# What the host and the native bridge say to each other (docs/architecture.md).
#
# One stream: HTTP CONNECT on the bridge's unix socket, then two-party Cap'n Proto RPC. The host is always the
# caller; what the bridge has to tell, the host fetches with `Instance.events`, which waits. Expected failures are
# results of type Error. Times are nanoseconds of the bridge's CLOCK_MONOTONIC. Sizes are bytes.

using import "errors.capnp".Error;

using InstanceId = Text;
# "i-" and 20 base32 characters, chosen by the bridge, unguessable.

using MsgId = UInt64;
# Ids of RPCs and messages. Text ids are sugar: FNV-1a 64 of the UTF-8 bytes.

using Nanos = UInt64;

interface Bridge {
  # The bootstrap capability of a stream.

  hello @0 (protocol :UInt32) -> (info :NodeInfo, error :Error);
  # Says which version of this file the host speaks (currently 1). `error.code` is `ok` when all is well, here and below.

  createInstance @1 (tenant :Text) -> (instance :Instance, id :InstanceId, error :Error);
  # Reserves an instance: its listening socket, its network namespace and its share of the memory pool.
  # A spare: nothing of a function is in it yet. The lease is the stream: when it breaks, the instance is kept for
  # NodeInfo.graceMillis, then reaped.

  attach @2 (id :InstanceId) -> (instance :Instance, error :Error);
  # Takes a kept instance over after a broken stream. `Instance.events(after = 0)` then replays all its events.

  putFunction @3 (function :Function) -> (error :Error);
  # Checks and prepares a function (rootfs, egress rules, names). Idempotent by `Function.digest`. A restarted bridge has
  # forgotten: `Instance.start` then answers `unknownFunction` and the host puts it again.

  dropFunction @4 (digest :Text) -> (error :Error);

  liveObjects @5 () -> (count :UInt32);
  # How many capabilities this stream holds beside the bootstrap. For tests of disposal.

  runner @6 (tenant :Text) -> (status :RunnerStatus);
  # Of a tenant's runner. generation 0: it has none.

  assignRunner @7 (slot :UInt16, tenant :Text) -> (error :Error);
  # Makes a slot (RUN/relay-<slot>.sock) a tenant's: from now on it leads to the runner that the tenant has, or to one that has
  # run nothing. The runner of the tenant whose slot it was is ended: no process runs scripts of two. Idempotent.

  runners @8 () -> (assigned :List(AssignedRunner));
  # Whose the slots are.
}

struct AssignedRunner { slot @0 :UInt16; tenant @1 :Text; }

struct NodeInfo {
  version @0 :Text;
  startedAt @1 :Nanos;
  now @2 :Nanos;
  graceMillis @3 :UInt32;
  isolations @4 :List(Text);       # what this node can do: "gvisor", "bubblewrap"
  unixMillisAtZero @5 :Float64;    # wall clock when CLOCK_MONOTONIC was 0
}

struct RunnerStatus {
  pid @0 :UInt32;
  generation @1 :UInt32;           # 1, 2, … : how many runners there have been
  state @2 :State;
  enum State { starting @0; ready @1; stalled @2; dead @3; }
  lastEnd @3 :End;                 # how the runner ended that ended last
  enum End { none @0; exited @1; stalled @2; memory @3; }
  lastHeardMillis @4 :UInt32;      # how long ago that one last answered
}

struct Function {
  digest @0 :Text;                 # hex SHA-256 over the canonical manifest and its parts, made by the host
  name @1 :Text;
  tenant @2 :Text;
  bundle @3 :Text;                 # "sha256:<hex>" of the application's files, put over HTTP before
  isolation @4 :Text;
  base @5 :Text;
  command @6 :List(Text);
  env @7 :List(Pair);
  limits @8 :Limits;
  egress @9 :List(Text);           # "GET s3://models/*"
  secrets @10 :List(Pair);         # scheme → name in the node's secrets file
  marks @11 :List(Text);           # a line of the app's output that begins with one of these is a mark on the timeline
  network @12 :Bool;               # whether the app itself may reach the egress list (its own client, no bridge)
  share @13 :List(Text);           # requests whose replies runs of its initscript share: "GET s3://models/*"
  shareTtlMillis @14 :UInt32;      # how old a shared reply may be; 0: only those that ask at one time share
  image @15 :Text;                 # "registry/name@sha256:<hex>": the sandbox's files, in the place of `base`; empty: none
  files @16 :List(SharedFile);     # that the bridge makes for each instance, and receives replies into
}

struct Pair { name @0 :Text; value @1 :Text; }

struct SharedFile { path @0 :Text; bytes @1 :UInt64; }
# path: in the sandbox. The application opens, maps and writes it as any file.

struct Limits {
  memory @0 :UInt64;               # of the sandbox
  cpuMillis @1 :UInt32;            # share of CPUs: 1000 = one
  pids @2 :UInt32;
  timeoutMillis @3 :UInt32;        # of one invocation
  results @4 :UInt64;              # bytes of segments of an instance
  rpcs @5 :UInt32;                 # RPCs of one initscript
  connections @6 :UInt32;
  messages @7 :UInt32;
  rpcTimeoutMillis @8 :UInt32;
  eventBytes @9 :UInt64;
  answerBytes @10 :UInt64;
}

interface Instance {
  start @0 (functionDigest :Text, mode :Mode, receivedAt :Nanos) -> (error :Error);
  # Gives the instance its function and begins the sandbox (not in mode initscriptOnly). Returns once the function is
  # known and the sandbox's start is under way, not when it is up. `receivedAt` is the caller's CLOCK_MONOTONIC when the
  # request left it, or 0; it becomes the `received` event if it lies within the last second.

  enum Mode { normal @0; noInitscript @1; initscriptOnly @2; direct @3; }
  # direct: no initscript and no bridge for the app's library: it uses its own client and credentials ("without" in benchmarks).

  submit @1 (ops :List(Op)) -> (error :Error);
  # Applies the host's decisions in order. An op that fails by itself (an address refused, memory full) shows as an
  # event of its RPC or message; `error` is for a malformed batch, of which nothing is applied.

  events @2 (after :UInt64, waitMillis :UInt32) -> (events :List(Event), error :Error);
  # The events with a sequence number > after, at once if there are any, else after the first comes or waitMillis
  # (at most 60,000) have passed (then none). At most 256 a call. One call may be waiting; a second one ends the first
  # with `cancelled`.

  read @3 (rpc :MsgId, offset :UInt64, length :UInt32) -> (data :Data, error :Error);
  # Bytes of a finished reply, at most 1 MiB a call.

  stop @4 (reason :Text) -> (error :Error);
  # Ends the app and all RPCs; the `ended` event comes when all is reaped. Idempotent.

  snapshot @5 () -> (json :Text, error :Error);
  # What the instance holds now (segments, RPCs, claims), for people and tests.

  readMessage @6 (id :MsgId, offset :UInt64, length :UInt32) -> (data :Data, error :Error);
  # Bytes of a message that the application sent, at most 1 MiB a call.
}

struct Op {
  union {
    connect @0 :Connect;
    send @1 :Send;
    message @2 :Message;
    decide @3 :Decide;
    cancel @4 :MsgId;              # an RPC: ends it with `cancelled`
    note @5 :Text;                 # stamps a `noted` event: "initscript started", …
    scriptEnded @6 :Void;          # no op of the script follows
    void @7 :MsgId;                # a published message is not to be served any more
    transfer @8 :Transfer;         # TransferConn of the script: the application may get the connection
    adopt @9 :Adopt;               # GetConn of the script: what the application handed over becomes a connection of the script
    withdraw @10 :Withdraw;        # what was handed over can be had no more: unless somebody has it by now, it is closed
  }
}

struct Connect { conn @0 :UInt32; address @1 :Text; }
# Names an address for later sends. Opening (or finding) the connection begins at once.

struct Transfer { id @0 :MsgId; address @1 :Text; conn @2 :UInt32; }

struct Adopt { conn @0 :UInt32; id @1 :MsgId; address @2 :Text; }

struct Withdraw { id @0 :MsgId; address @1 :Text; ofApp @2 :Bool; }
# ofApp: what the application handed over, else what the script did. Who asks for it later hears `voided`.

struct Send {
  conn @0 :UInt32;
  rpc @1 :MsgId;
  request @2 :Data;
  # The protocol's own request. HTTP and S3: "VERB path\n", header lines "name: value\n", "\n", body.
  timeoutMillis @3 :UInt32;        # 0: the function's rpcTimeoutMillis
  place @4 :Text;                  # "file:/path" of one of the function's files: the reply goes there; empty: private memory
  placeOffset @5 :UInt64;          # where in the file
  placeRoom @6 :UInt64;            # how many bytes at most; 0: up to the file's end
}

struct Message {
  id @0 :MsgId;
  union {
    data @1 :Data;
    reply @2 :MsgId;               # the reply of this RPC, finished or in flight
  }
  content @3 :Text;                # what it is ("GET s3://models/weights"); empty for a reply: the bridge knows
}

struct Decide {
  # The answer to a `claimed` event.
  claim @0 :UInt64;
  error @1 :Error;                 # miss, diverged, appOwns, deadline, …: the app is told, and goes on by itself
}

struct Reply {
  status @0 :UInt16;               # the protocol's (HTTP), 0 where it has none
  segment @1 :UInt32;
  offset @2 :UInt64;
  length @3 :UInt64;
  inlined @4 :Data;                # the body, when it is at most 16 KiB
  headers @5 :List(Pair);          # etag, content-type, content-length, last-modified, content-range
  attempts @6 :UInt16;
  place @7 :Text;                  # "file:/path" when the body lies in a file of the application's, from `offset`
}

struct Event {
  seq @0 :UInt64;                  # 1, 2, … within the instance, without gaps
  at @1 :Nanos;
  union {
    received @2 :Void;             # the caller sent its request
    started @3 :Void;              # the bridge has `start`
    sandboxCreated @4 :UInt32;     # the sandbox's process exists (its pid)
    appConnected @5 :Text;         # the app's first hello: its client's name and version
    invocationTaken @6 :UInt64;    # the app has the event of invocation n
    answerBegun @7 :UInt64;
    answerEnded @8 :AnswerEnded;
    mark @9 :Text;                 # a line of the app's output, or its Mark
    log @10 :LogLine;
    sandboxExited @11 :Exited;
    rpcAccepted @12 :RpcAccepted;
    rpcSent @13 :RpcSent;          # its first byte is with the kernel
    rpcFirstByte @14 :MsgId;       # of its reply
    rpcDone @15 :RpcDone;
    claimed @16 :Claimed;          # the app asks for a message that the bridge does not know, or with other content
    served @17 :Served;            # the app has been given a message
    called @18 :Called;            # the app asked the bridge to do a call (a miss)
    noted @19 :Text;
    published @20 :MsgId;          # a message can be received from now on (its RPC may still be in flight)
    messageFailed @21 :MessageFailed;
    ended @22 :Ended;              # the last event: all is reaped
    appMessage @23 :AppMessage;    # SendMsg of the application
    connOffered @24 :ConnRef;      # TransferConn of the application
    connReady @25 :ConnReady;      # what the script transferred can be got from now on, or why not
    connTaken @26 :ConnTaken;      # GetConn of the application
    connClosed @27 :ConnClosed;    # a connection that the bridge carried for the application has ended
    rpcShared @28 :RpcShared;      # in the place of rpcSent: another run of the function has asked for it
    imagePulled @29 :ImagePulled;  # the last byte of the image has come; of one that the node had, neither this nor the next
    imageUnpacked @30 :UInt64;     # its files are there, so many bytes
    connReleased @31 :ConnRef;     # a connection that was handed over and that nobody had taken when it was withdrawn: it is closed
    initscriptPulled @32 :InitscriptPulled; # the host has been given the initscript's bytes from their registry
  }
}

struct AnswerEnded { invocation @0 :UInt64; bytes @1 :UInt64; error @2 :Error; }
struct LogLine { stream @0 :Stream; text @1 :Text; enum Stream { stdout @0; stderr @1; } }
struct Exited { status @0 :Int32; signal @1 :UInt32; error @2 :Error; }
# error: ok for status 0; appExited, or what killed it (instanceMemoryFull for the sandbox's memory limit, functionTimeout).
struct RpcAccepted { rpc @0 :MsgId; content @1 :Text; idempotent @2 :Bool; }
# content: canonical "VERB address/path", what divergence and the trace compare.
struct RpcSent { rpc @0 :MsgId; reused @1 :Bool; attempt @2 :UInt16; }
struct RpcShared { rpc @0 :MsgId; ageNanos @1 :UInt64; }
# ageNanos: how long ago it was asked for.
struct ImagePulled { image @0 :Text; bytes @1 :UInt64; layers @2 :UInt32; }
struct InitscriptPulled { artifact @0 :Text; bytes @1 :UInt64; nanos @2 :UInt64; }
# nanos: how long that took.
struct RpcDone { rpc @0 :MsgId; reply @1 :Reply; error @2 :Error; }
struct Claimed { claim @0 :UInt64; id @1 :MsgId; content @2 :Text; diverges @3 :Text; deadlineMillis @4 :UInt32; connection @5 :Bool; }
# connection: a GetConn; content is then the address.
# diverges: the content that was published under this id, when it is another than the claim's; else empty.
struct Served { id @0 :MsgId; bytes @1 :UInt64; waitedNanos @2 :UInt64; error @3 :Error; }
struct Called { content @0 :Text; status @1 :UInt16; bytes @2 :UInt64; nanos @3 :UInt64; error @4 :Error; }
struct MessageFailed { id @0 :MsgId; error @1 :Error; }
struct AppMessage { id @0 :MsgId; length @1 :UInt64; inlined @2 :Data; }
# inlined: the bytes, when they are at most 16 KiB.
struct ConnRef { id @0 :MsgId; address @1 :Text; }
struct ConnReady { id @0 :MsgId; address @1 :Text; error @2 :Error; }
struct ConnTaken { id @0 :MsgId; address @1 :Text; kind @2 :Kind; error @3 :Error; enum Kind { socket @0; spliced @1; tls @2; } }
struct ConnClosed { id @0 :MsgId; address @1 :Text; received @2 :UInt64; sent @3 :UInt64; error @4 :Error; }
struct Ended { reason @0 :Text; unclaimedMessages @1 :UInt32; unclaimedBytes @2 :UInt64; segments @3 :UInt32; }
