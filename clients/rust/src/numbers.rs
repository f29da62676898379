//! Generated from schema/ by `npm run generate`. Do not edit.

pub(crate) const OP_NONE: u16 = 0;
pub(crate) const OP_HELLO: u16 = 1;
pub(crate) const OP_RECV_MSG: u16 = 2;
pub(crate) const OP_AWAIT: u16 = 3;
pub(crate) const OP_OUTBOX: u16 = 4;
pub(crate) const OP_CALL: u16 = 5;
pub(crate) const OP_NEXT: u16 = 6;
pub(crate) const OP_RESPOND: u16 = 7;
pub(crate) const OP_FREE: u16 = 8;
pub(crate) const OP_MARK: u16 = 9;
pub(crate) const OP_SEND_MSG: u16 = 10;
pub(crate) const OP_GET_CONN: u16 = 11;
pub(crate) const OP_TRANSFER_CONN: u16 = 12;
pub(crate) const OP_CONN_STATUS: u16 = 13;
pub(crate) const OP_SEGMENT: u16 = 14;
pub(crate) const OP_CHECKPOINT: u16 = 15;
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: u32 = 64;
pub(crate) const MAX_PACKET_BYTES: u32 = 4096;
pub(crate) const FLAG_PROGRESSIVE: u32 = 1;
pub(crate) const FLAG_DONE: u32 = 2;
pub(crate) const FLAG_FD: u32 = 4;
pub(crate) const FLAG_INLINE: u32 = 8;
pub(crate) const FLAG_BEGIN: u32 = 16;
pub(crate) const FLAG_END: u32 = 32;
pub(crate) const FLAG_ERROR: u32 = 64;
pub(crate) const FLAG_LENGTH_KNOWN: u32 = 128;
pub(crate) const FLAG_NO_FD: u32 = 256;
pub(crate) const FLAG_FILE: u32 = 512;

/// What went wrong, as every part of headstart names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    Ok = 0,
    Internal = 1,
    InvalidArgument = 2,
    NotFound = 3,
    AlreadyExists = 4,
    Unauthorized = 5,
    ForbiddenOrigin = 6,
    PayloadTooLarge = 7,
    UnknownFunction = 8,
    UnknownInstance = 9,
    UnknownBundle = 10,
    UnknownModule = 11,
    UnknownSecret = 12,
    FunctionTimeout = 13,
    FunctionFailed = 14,
    AppExited = 15,
    SandboxFailed = 16,
    SandboxUnsupported = 17,
    InitscriptFailed = 18,
    InitscriptTrapped = 19,
    InitscriptDeadline = 20,
    InitscriptLimit = 21,
    RunnerLost = 22,
    EgressDenied = 23,
    NameNotResolved = 24,
    ConnectFailed = 25,
    ConnectionReset = 26,
    TlsFailed = 27,
    BadReply = 28,
    BodyTruncated = 29,
    RpcTimeout = 30,
    RpcUnknown = 31,
    RpcDuplicate = 32,
    MessageDuplicate = 33,
    AppOwns = 34,
    Miss = 35,
    Diverged = 36,
    AlreadyClaimed = 37,
    Voided = 38,
    Deadline = 39,
    Cancelled = 40,
    InstanceClosed = 41,
    InstanceMemoryFull = 42,
    NodeMemoryFull = 43,
    TooMany = 44,
    NodeDraining = 45,
    BridgeLost = 46,
    Interrupted = 47,
    Protocol = 48,
    Unsupported = 49,
    DiskFull = 50,
    InitscriptCpu = 51,
    InitscriptMemory = 52,
    InitscriptConnections = 53,
    InitscriptRpcs = 54,
    InitscriptMessages = 55,
    InitscriptBytes = 56,
    ConnectionBusy = 57,
    QuotaExceeded = 58,
    UnknownTenant = 59,
    UnknownService = 60,
    NotReady = 61,
    ImagePullFailed = 62,
    ImageInvalid = 63,
    ImageInUse = 64,
    SnapshotFailed = 65,
}

/// By number: the code, its name, its errno and how a person mends it.
pub(crate) const ERRORS: [(Code, &str, i32, &str); 66] = [
    (
        Code::Ok,
        "ok",
        0,
        "",
    ),
    (
        Code::Internal,
        "internal",
        5,
        "This is a fault of headstart: `headstart logs` has the details.",
    ),
    (
        Code::InvalidArgument,
        "invalidArgument",
        22,
        "Correct the value that the message names.",
    ),
    (
        Code::NotFound,
        "notFound",
        2,
        "Check the path; `headstart --help` lists what there is.",
    ),
    (
        Code::AlreadyExists,
        "alreadyExists",
        17,
        "Choose another name, or delete the existing one first.",
    ),
    (
        Code::Unauthorized,
        "unauthorized",
        13,
        "Send the node's token: `Authorization: Bearer …`.",
    ),
    (
        Code::ForbiddenOrigin,
        "forbiddenOrigin",
        13,
        "The API answers only requests for its own loopback address and no web page's: call it from a program.",
    ),
    (
        Code::PayloadTooLarge,
        "payloadTooLarge",
        27,
        "Send less, or raise the limit that the message names in headstart.toml.",
    ),
    (
        Code::UnknownFunction,
        "unknownFunction",
        2,
        "Deploy it first: `headstart deploy DIR`.",
    ),
    (
        Code::UnknownInstance,
        "unknownInstance",
        2,
        "The instance id is wrong, or its transcript is older than the retention.",
    ),
    (
        Code::UnknownBundle,
        "unknownBundle",
        2,
        "The application's files are no longer on the node: deploy it again.",
    ),
    (
        Code::UnknownModule,
        "unknownModule",
        2,
        "Deploy the function again.",
    ),
    (
        Code::UnknownSecret,
        "unknownSecret",
        126,
        "Add the secret that [secrets] names to the node's secrets file.",
    ),
    (
        Code::FunctionTimeout,
        "functionTimeout",
        110,
        "Raise [app.limits] timeout, or make the function faster.",
    ),
    (
        Code::FunctionFailed,
        "functionFailed",
        5,
        "The function raised an error: `headstart logs` shows where.",
    ),
    (
        Code::AppExited,
        "appExited",
        32,
        "The application ended before it answered: `headstart logs` shows its last lines.",
    ),
    (
        Code::SandboxFailed,
        "sandboxFailed",
        5,
        "The sandbox did not start: run `headstart doctor`.",
    ),
    (
        Code::SandboxUnsupported,
        "sandboxUnsupported",
        95,
        "The node lacks this isolation back end: run `headstart doctor`.",
    ),
    (
        Code::InitscriptFailed,
        "initscriptFailed",
        5,
        "The initscript ended with an error and its policy is `fail`: `headstart trace` shows it.",
    ),
    (
        Code::InitscriptTrapped,
        "initscriptTrapped",
        5,
        "The initscript trapped or threw: `headstart logs` has its stack.",
    ),
    (
        Code::InitscriptDeadline,
        "initscriptDeadline",
        110,
        "Raise [initscript.limits] deadline, or do less in the initscript.",
    ),
    (
        Code::InitscriptLimit,
        "initscriptLimit",
        122,
        "Raise the limit that the message names in [initscript.limits].",
    ),
    (
        Code::RunnerLost,
        "runnerLost",
        104,
        "The initscript's runner died and is being replaced: try again.",
    ),
    (
        Code::EgressDenied,
        "egressDenied",
        1,
        "Add the verb and the destination to [egress] allow.",
    ),
    (
        Code::NameNotResolved,
        "nameNotResolved",
        113,
        "Check the host name and the node's DNS.",
    ),
    (
        Code::ConnectFailed,
        "connectFailed",
        111,
        "Check that the service runs and can be reached from the node.",
    ),
    (
        Code::ConnectionReset,
        "connectionReset",
        104,
        "The service closed the connection: see its own log.",
    ),
    (
        Code::TlsFailed,
        "tlsFailed",
        71,
        "Check the service's certificate and name.",
    ),
    (
        Code::BadReply,
        "badReply",
        71,
        "The service's answer does not follow its protocol.",
    ),
    (
        Code::BodyTruncated,
        "bodyTruncated",
        61,
        "The service sent fewer bytes than it announced: try again.",
    ),
    (
        Code::RpcTimeout,
        "rpcTimeout",
        110,
        "The service did not answer in time.",
    ),
    (
        Code::RpcUnknown,
        "rpcUnknown",
        22,
        "Send the RPC before you wait for its reply.",
    ),
    (
        Code::RpcDuplicate,
        "rpcDuplicate",
        17,
        "Give each RPC its own id.",
    ),
    (
        Code::MessageDuplicate,
        "messageDuplicate",
        17,
        "Give each message its own id.",
    ),
    (
        Code::AppOwns,
        "appOwns",
        16,
        "The application asked first and does this call itself: send it earlier, or announce it with Expect.",
    ),
    (
        Code::Miss,
        "miss",
        42,
        "The initscript does not send this: the application does the call itself.",
    ),
    (
        Code::Diverged,
        "diverged",
        116,
        "The initscript sent something else under this id: see `headstart trace`.",
    ),
    (
        Code::AlreadyClaimed,
        "alreadyClaimed",
        114,
        "A message is received once.",
    ),
    (
        Code::Voided,
        "voided",
        116,
        "It is out of date: the application wrote to this key after it was fetched ahead, or the invocation that it was for has ended.",
    ),
    (
        Code::Deadline,
        "deadline",
        110,
        "What was waited for did not come in time.",
    ),
    (
        Code::Cancelled,
        "cancelled",
        125,
        "The caller went away.",
    ),
    (
        Code::InstanceClosed,
        "instanceClosed",
        108,
        "The instance has ended.",
    ),
    (
        Code::InstanceMemoryFull,
        "instanceMemoryFull",
        12,
        "Raise [initscript.limits] results, or fetch less.",
    ),
    (
        Code::NodeMemoryFull,
        "nodeMemoryFull",
        12,
        "The node's memory for results is full: wait for instances to end, or raise the node's limit.",
    ),
    (
        Code::TooMany,
        "tooMany",
        11,
        "A limit that the message names is reached: try again later.",
    ),
    (
        Code::NodeDraining,
        "nodeDraining",
        108,
        "The node is shutting down: use another, or try again.",
    ),
    (
        Code::BridgeLost,
        "bridgeLost",
        104,
        "The native bridge is restarting: try again.",
    ),
    (
        Code::Interrupted,
        "interrupted",
        4,
        "The node ended in the middle of this invocation: invoke again.",
    ),
    (
        Code::Protocol,
        "protocol",
        71,
        "The peer does not follow the protocol: check that both are of one version.",
    ),
    (
        Code::Unsupported,
        "unsupported",
        95,
        "This part of the API is not there for this kind of address or application.",
    ),
    (
        Code::DiskFull,
        "diskFull",
        28,
        "Free space on the node's disk, then try again.",
    ),
    (
        Code::InitscriptCpu,
        "initscriptCpu",
        122,
        "Raise [initscript.limits] cpu, or compute less in the initscript.",
    ),
    (
        Code::InitscriptMemory,
        "initscriptMemory",
        122,
        "Raise [initscript.limits] memory, or keep less in the initscript.",
    ),
    (
        Code::InitscriptConnections,
        "initscriptConnections",
        122,
        "Raise [initscript.limits] connections, or use one connection for several RPCs.",
    ),
    (
        Code::InitscriptRpcs,
        "initscriptRpcs",
        122,
        "Raise [initscript.limits] rpcs, or send fewer.",
    ),
    (
        Code::InitscriptMessages,
        "initscriptMessages",
        122,
        "Raise [initscript.limits] messages, or send fewer.",
    ),
    (
        Code::InitscriptBytes,
        "initscriptBytes",
        122,
        "Raise [initscript.limits] bytes, or send smaller requests and messages.",
    ),
    (
        Code::ConnectionBusy,
        "connectionBusy",
        16,
        "Read the whole reply before the connection is handed over.",
    ),
    (
        Code::QuotaExceeded,
        "quotaExceeded",
        122,
        "The tenant's quota that the message names is used up: wait for instances to end, or raise it.",
    ),
    (
        Code::UnknownTenant,
        "unknownTenant",
        2,
        "`headstart tenant list` shows the tenants of the node.",
    ),
    (
        Code::UnknownService,
        "unknownService",
        2,
        "Deploy it first, with a [service] section: `headstart deploy DIR`.",
    ),
    (
        Code::NotReady,
        "notReady",
        11,
        "The service did not become ready in time: `headstart logs` shows its last lines, [service] ready its rule.",
    ),
    (
        Code::ImagePullFailed,
        "imagePullFailed",
        121,
        "Check the reference and the registry: the message says what it answered. docs/images.md tells which registries a node pulls from.",
    ),
    (
        Code::ImageInvalid,
        "imageInvalid",
        8,
        "Build the image again: one of its layers or its configuration is not what an image may have.",
    ),
    (
        Code::ImageInUse,
        "imageInUse",
        16,
        "Something runs from the image: wait until it has ended, then try again.",
    ),
    (
        Code::SnapshotFailed,
        "snapshotFailed",
        5,
        "Close connections, files of the bridge's and threads that use them before the program is ready; `headstart logs` has what it said. docs/snapshots.md tells what may be in a snapshot.",
    ),
];
