/* Generated from schema/ by `npm run generate`. Do not edit. */
#ifndef HEADSTART_NUMBERS_H
#define HEADSTART_NUMBERS_H

#define HSC_OP_NONE 0
#define HSC_OP_HELLO 1
#define HSC_OP_RECV_MSG 2
#define HSC_OP_AWAIT 3
#define HSC_OP_OUTBOX 4
#define HSC_OP_CALL 5
#define HSC_OP_NEXT 6
#define HSC_OP_RESPOND 7
#define HSC_OP_FREE 8
#define HSC_OP_MARK 9
#define HSC_OP_SEND_MSG 10
#define HSC_OP_GET_CONN 11
#define HSC_OP_TRANSFER_CONN 12
#define HSC_OP_CONN_STATUS 13
#define HSC_OP_SEGMENT 14
#define HSC_OP_CHECKPOINT 15
#define HSC_VERSION 1u
#define HSC_HEADER_BYTES 64u
#define HSC_MAX_PACKET_BYTES 4096u
#define HSC_FLAG_PROGRESSIVE 1u
#define HSC_FLAG_DONE 2u
#define HSC_FLAG_FD 4u
#define HSC_FLAG_INLINE 8u
#define HSC_FLAG_BEGIN 16u
#define HSC_FLAG_END 32u
#define HSC_FLAG_ERROR 64u
#define HSC_FLAG_LENGTH_KNOWN 128u
#define HSC_FLAG_NO_FD 256u
#define HSC_FLAG_FILE 512u

enum hsc_code {
	HSC_OK = 0,
	HSC_INTERNAL = 1,
	HSC_INVALID_ARGUMENT = 2,
	HSC_NOT_FOUND = 3,
	HSC_ALREADY_EXISTS = 4,
	HSC_UNAUTHORIZED = 5,
	HSC_FORBIDDEN_ORIGIN = 6,
	HSC_PAYLOAD_TOO_LARGE = 7,
	HSC_UNKNOWN_FUNCTION = 8,
	HSC_UNKNOWN_INSTANCE = 9,
	HSC_UNKNOWN_BUNDLE = 10,
	HSC_UNKNOWN_MODULE = 11,
	HSC_UNKNOWN_SECRET = 12,
	HSC_FUNCTION_TIMEOUT = 13,
	HSC_FUNCTION_FAILED = 14,
	HSC_APP_EXITED = 15,
	HSC_SANDBOX_FAILED = 16,
	HSC_SANDBOX_UNSUPPORTED = 17,
	HSC_INITSCRIPT_FAILED = 18,
	HSC_INITSCRIPT_TRAPPED = 19,
	HSC_INITSCRIPT_DEADLINE = 20,
	HSC_INITSCRIPT_LIMIT = 21,
	HSC_RUNNER_LOST = 22,
	HSC_EGRESS_DENIED = 23,
	HSC_NAME_NOT_RESOLVED = 24,
	HSC_CONNECT_FAILED = 25,
	HSC_CONNECTION_RESET = 26,
	HSC_TLS_FAILED = 27,
	HSC_BAD_REPLY = 28,
	HSC_BODY_TRUNCATED = 29,
	HSC_RPC_TIMEOUT = 30,
	HSC_RPC_UNKNOWN = 31,
	HSC_RPC_DUPLICATE = 32,
	HSC_MESSAGE_DUPLICATE = 33,
	HSC_APP_OWNS = 34,
	HSC_MISS = 35,
	HSC_DIVERGED = 36,
	HSC_ALREADY_CLAIMED = 37,
	HSC_VOIDED = 38,
	HSC_DEADLINE = 39,
	HSC_CANCELLED = 40,
	HSC_INSTANCE_CLOSED = 41,
	HSC_INSTANCE_MEMORY_FULL = 42,
	HSC_NODE_MEMORY_FULL = 43,
	HSC_TOO_MANY = 44,
	HSC_NODE_DRAINING = 45,
	HSC_BRIDGE_LOST = 46,
	HSC_INTERRUPTED = 47,
	HSC_PROTOCOL = 48,
	HSC_UNSUPPORTED = 49,
	HSC_DISK_FULL = 50,
	HSC_INITSCRIPT_CPU = 51,
	HSC_INITSCRIPT_MEMORY = 52,
	HSC_INITSCRIPT_CONNECTIONS = 53,
	HSC_INITSCRIPT_RPCS = 54,
	HSC_INITSCRIPT_MESSAGES = 55,
	HSC_INITSCRIPT_BYTES = 56,
	HSC_CONNECTION_BUSY = 57,
	HSC_QUOTA_EXCEEDED = 58,
	HSC_UNKNOWN_TENANT = 59,
	HSC_UNKNOWN_SERVICE = 60,
	HSC_NOT_READY = 61,
	HSC_IMAGE_PULL_FAILED = 62,
	HSC_IMAGE_INVALID = 63,
	HSC_IMAGE_IN_USE = 64,
	HSC_SNAPSHOT_FAILED = 65,
};

/* X(number, name, errno, how to mend it) for each error. */
#define HSC_ERRORS(X) \
	X(0, "ok", 0, "") \
	X(1, "internal", 5, "This is a fault of headstart: `headstart logs` has the details.") \
	X(2, "invalidArgument", 22, "Correct the value that the message names.") \
	X(3, "notFound", 2, "Check the path; `headstart --help` lists what there is.") \
	X(4, "alreadyExists", 17, "Choose another name, or delete the existing one first.") \
	X(5, "unauthorized", 13, "Send the node's token: `Authorization: Bearer …`.") \
	X(6, "forbiddenOrigin", 13, "The API answers only requests for its own loopback address and no web page's: call it from a program.") \
	X(7, "payloadTooLarge", 27, "Send less, or raise the limit that the message names in headstart.toml.") \
	X(8, "unknownFunction", 2, "Deploy it first: `headstart deploy DIR`.") \
	X(9, "unknownInstance", 2, "The instance id is wrong, or its transcript is older than the retention.") \
	X(10, "unknownBundle", 2, "The application's files are no longer on the node: deploy it again.") \
	X(11, "unknownModule", 2, "Deploy the function again.") \
	X(12, "unknownSecret", 126, "Add the secret that [secrets] names to the node's secrets file.") \
	X(13, "functionTimeout", 110, "Raise [app.limits] timeout, or make the function faster.") \
	X(14, "functionFailed", 5, "The function raised an error: `headstart logs` shows where.") \
	X(15, "appExited", 32, "The application ended before it answered: `headstart logs` shows its last lines.") \
	X(16, "sandboxFailed", 5, "The sandbox did not start: run `headstart doctor`.") \
	X(17, "sandboxUnsupported", 95, "The node lacks this isolation back end: run `headstart doctor`.") \
	X(18, "initscriptFailed", 5, "The initscript ended with an error and its policy is `fail`: `headstart trace` shows it.") \
	X(19, "initscriptTrapped", 5, "The initscript trapped or threw: `headstart logs` has its stack.") \
	X(20, "initscriptDeadline", 110, "Raise [initscript.limits] deadline, or do less in the initscript.") \
	X(21, "initscriptLimit", 122, "Raise the limit that the message names in [initscript.limits].") \
	X(22, "runnerLost", 104, "The initscript's runner died and is being replaced: try again.") \
	X(23, "egressDenied", 1, "Add the verb and the destination to [egress] allow.") \
	X(24, "nameNotResolved", 113, "Check the host name and the node's DNS.") \
	X(25, "connectFailed", 111, "Check that the service runs and can be reached from the node.") \
	X(26, "connectionReset", 104, "The service closed the connection: see its own log.") \
	X(27, "tlsFailed", 71, "Check the service's certificate and name.") \
	X(28, "badReply", 71, "The service's answer does not follow its protocol.") \
	X(29, "bodyTruncated", 61, "The service sent fewer bytes than it announced: try again.") \
	X(30, "rpcTimeout", 110, "The service did not answer in time.") \
	X(31, "rpcUnknown", 22, "Send the RPC before you wait for its reply.") \
	X(32, "rpcDuplicate", 17, "Give each RPC its own id.") \
	X(33, "messageDuplicate", 17, "Give each message its own id.") \
	X(34, "appOwns", 16, "The application asked first and does this call itself: send it earlier, or announce it with Expect.") \
	X(35, "miss", 42, "The initscript does not send this: the application does the call itself.") \
	X(36, "diverged", 116, "The initscript sent something else under this id: see `headstart trace`.") \
	X(37, "alreadyClaimed", 114, "A message is received once.") \
	X(38, "voided", 116, "It is out of date: the application wrote to this key after it was fetched ahead, or the invocation that it was for has ended.") \
	X(39, "deadline", 110, "What was waited for did not come in time.") \
	X(40, "cancelled", 125, "The caller went away.") \
	X(41, "instanceClosed", 108, "The instance has ended.") \
	X(42, "instanceMemoryFull", 12, "Raise [initscript.limits] results, or fetch less.") \
	X(43, "nodeMemoryFull", 12, "The node's memory for results is full: wait for instances to end, or raise the node's limit.") \
	X(44, "tooMany", 11, "A limit that the message names is reached: try again later.") \
	X(45, "nodeDraining", 108, "The node is shutting down: use another, or try again.") \
	X(46, "bridgeLost", 104, "The native bridge is restarting: try again.") \
	X(47, "interrupted", 4, "The node ended in the middle of this invocation: invoke again.") \
	X(48, "protocol", 71, "The peer does not follow the protocol: check that both are of one version.") \
	X(49, "unsupported", 95, "This part of the API is not there for this kind of address or application.") \
	X(50, "diskFull", 28, "Free space on the node's disk, then try again.") \
	X(51, "initscriptCpu", 122, "Raise [initscript.limits] cpu, or compute less in the initscript.") \
	X(52, "initscriptMemory", 122, "Raise [initscript.limits] memory, or keep less in the initscript.") \
	X(53, "initscriptConnections", 122, "Raise [initscript.limits] connections, or use one connection for several RPCs.") \
	X(54, "initscriptRpcs", 122, "Raise [initscript.limits] rpcs, or send fewer.") \
	X(55, "initscriptMessages", 122, "Raise [initscript.limits] messages, or send fewer.") \
	X(56, "initscriptBytes", 122, "Raise [initscript.limits] bytes, or send smaller requests and messages.") \
	X(57, "connectionBusy", 16, "Read the whole reply before the connection is handed over.") \
	X(58, "quotaExceeded", 122, "The tenant's quota that the message names is used up: wait for instances to end, or raise it.") \
	X(59, "unknownTenant", 2, "`headstart tenant list` shows the tenants of the node.") \
	X(60, "unknownService", 2, "Deploy it first, with a [service] section: `headstart deploy DIR`.") \
	X(61, "notReady", 11, "The service did not become ready in time: `headstart logs` shows its last lines, [service] ready its rule.") \
	X(62, "imagePullFailed", 121, "Check the reference and the registry: the message says what it answered. docs/images.md tells which registries a node pulls from.") \
	X(63, "imageInvalid", 8, "Build the image again: one of its layers or its configuration is not what an image may have.") \
	X(64, "imageInUse", 16, "Something runs from the image: wait until it has ended, then try again.") \
	X(65, "snapshotFailed", 5, "Close connections, files of the bridge's and threads that use them before the program is ready; `headstart logs` has what it said. docs/snapshots.md tells what may be in a snapshot.")

#endif
