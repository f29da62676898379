# Generated from schema/ by `npm run generate`. Do not edit.

OP_NONE = 0
OP_HELLO = 1
OP_RECV_MSG = 2
OP_AWAIT = 3
OP_OUTBOX = 4
OP_CALL = 5
OP_NEXT = 6
OP_RESPOND = 7
OP_FREE = 8
OP_MARK = 9
OP_SEND_MSG = 10
OP_GET_CONN = 11
OP_TRANSFER_CONN = 12
OP_CONN_STATUS = 13
OP_SEGMENT = 14
OP_CHECKPOINT = 15
VERSION = 1
HEADER_BYTES = 64
MAX_PACKET_BYTES = 4096
FLAG_PROGRESSIVE = 1
FLAG_DONE = 2
FLAG_FD = 4
FLAG_INLINE = 8
FLAG_BEGIN = 16
FLAG_END = 32
FLAG_ERROR = 64
FLAG_LENGTH_KNOWN = 128
FLAG_NO_FD = 256
FLAG_FILE = 512

# number: (code, errno, hint)
ERRORS = {
    0: ("ok", 0, ""),
    1: ("internal", 5, "This is a fault of headstart: `headstart logs` has the details."),
    2: ("invalidArgument", 22, "Correct the value that the message names."),
    3: ("notFound", 2, "Check the path; `headstart --help` lists what there is."),
    4: ("alreadyExists", 17, "Choose another name, or delete the existing one first."),
    5: ("unauthorized", 13, "Send the node's token: `Authorization: Bearer …`."),
    6: ("forbiddenOrigin", 13, "The API answers only requests for its own loopback address and no web page's: call it from a program."),
    7: ("payloadTooLarge", 27, "Send less, or raise the limit that the message names in headstart.toml."),
    8: ("unknownFunction", 2, "Deploy it first: `headstart deploy DIR`."),
    9: ("unknownInstance", 2, "The instance id is wrong, or its transcript is older than the retention."),
    10: ("unknownBundle", 2, "The application's files are no longer on the node: deploy it again."),
    11: ("unknownModule", 2, "Deploy the function again."),
    12: ("unknownSecret", 126, "Add the secret that [secrets] names to the node's secrets file."),
    13: ("functionTimeout", 110, "Raise [app.limits] timeout, or make the function faster."),
    14: ("functionFailed", 5, "The function raised an error: `headstart logs` shows where."),
    15: ("appExited", 32, "The application ended before it answered: `headstart logs` shows its last lines."),
    16: ("sandboxFailed", 5, "The sandbox did not start: run `headstart doctor`."),
    17: ("sandboxUnsupported", 95, "The node lacks this isolation back end: run `headstart doctor`."),
    18: ("initscriptFailed", 5, "The initscript ended with an error and its policy is `fail`: `headstart trace` shows it."),
    19: ("initscriptTrapped", 5, "The initscript trapped or threw: `headstart logs` has its stack."),
    20: ("initscriptDeadline", 110, "Raise [initscript.limits] deadline, or do less in the initscript."),
    21: ("initscriptLimit", 122, "Raise the limit that the message names in [initscript.limits]."),
    22: ("runnerLost", 104, "The initscript's runner died and is being replaced: try again."),
    23: ("egressDenied", 1, "Add the verb and the destination to [egress] allow."),
    24: ("nameNotResolved", 113, "Check the host name and the node's DNS."),
    25: ("connectFailed", 111, "Check that the service runs and can be reached from the node."),
    26: ("connectionReset", 104, "The service closed the connection: see its own log."),
    27: ("tlsFailed", 71, "Check the service's certificate and name."),
    28: ("badReply", 71, "The service's answer does not follow its protocol."),
    29: ("bodyTruncated", 61, "The service sent fewer bytes than it announced: try again."),
    30: ("rpcTimeout", 110, "The service did not answer in time."),
    31: ("rpcUnknown", 22, "Send the RPC before you wait for its reply."),
    32: ("rpcDuplicate", 17, "Give each RPC its own id."),
    33: ("messageDuplicate", 17, "Give each message its own id."),
    34: ("appOwns", 16, "The application asked first and does this call itself: send it earlier, or announce it with Expect."),
    35: ("miss", 42, "The initscript does not send this: the application does the call itself."),
    36: ("diverged", 116, "The initscript sent something else under this id: see `headstart trace`."),
    37: ("alreadyClaimed", 114, "A message is received once."),
    38: ("voided", 116, "It is out of date: the application wrote to this key after it was fetched ahead, or the invocation that it was for has ended."),
    39: ("deadline", 110, "What was waited for did not come in time."),
    40: ("cancelled", 125, "The caller went away."),
    41: ("instanceClosed", 108, "The instance has ended."),
    42: ("instanceMemoryFull", 12, "Raise [initscript.limits] results, or fetch less."),
    43: ("nodeMemoryFull", 12, "The node's memory for results is full: wait for instances to end, or raise the node's limit."),
    44: ("tooMany", 11, "A limit that the message names is reached: try again later."),
    45: ("nodeDraining", 108, "The node is shutting down: use another, or try again."),
    46: ("bridgeLost", 104, "The native bridge is restarting: try again."),
    47: ("interrupted", 4, "The node ended in the middle of this invocation: invoke again."),
    48: ("protocol", 71, "The peer does not follow the protocol: check that both are of one version."),
    49: ("unsupported", 95, "This part of the API is not there for this kind of address or application."),
    50: ("diskFull", 28, "Free space on the node's disk, then try again."),
    51: ("initscriptCpu", 122, "Raise [initscript.limits] cpu, or compute less in the initscript."),
    52: ("initscriptMemory", 122, "Raise [initscript.limits] memory, or keep less in the initscript."),
    53: ("initscriptConnections", 122, "Raise [initscript.limits] connections, or use one connection for several RPCs."),
    54: ("initscriptRpcs", 122, "Raise [initscript.limits] rpcs, or send fewer."),
    55: ("initscriptMessages", 122, "Raise [initscript.limits] messages, or send fewer."),
    56: ("initscriptBytes", 122, "Raise [initscript.limits] bytes, or send smaller requests and messages."),
    57: ("connectionBusy", 16, "Read the whole reply before the connection is handed over."),
    58: ("quotaExceeded", 122, "The tenant's quota that the message names is used up: wait for instances to end, or raise it."),
    59: ("unknownTenant", 2, "`headstart tenant list` shows the tenants of the node."),
    60: ("unknownService", 2, "Deploy it first, with a [service] section: `headstart deploy DIR`."),
    61: ("notReady", 11, "The service did not become ready in time: `headstart logs` shows its last lines, [service] ready its rule."),
    62: ("imagePullFailed", 121, "Check the reference and the registry: the message says what it answered. docs/images.md tells which registries a node pulls from."),
    63: ("imageInvalid", 8, "Build the image again: one of its layers or its configuration is not what an image may have."),
    64: ("imageInUse", 16, "Something runs from the image: wait until it has ended, then try again."),
    65: ("snapshotFailed", 5, "Close connections, files of the bridge's and threads that use them before the program is ready; `headstart logs` has what it said. docs/snapshots.md tells what may be in a snapshot."),
}
