@0xd1a3b7e94c5f2081;
# Every error that one part of headstart tells another, a client or a person.
# The enum is what travels; the table beside it is the only place that says which HTTP status an error has
# at the host's API, which errno it has for clients in a container, and how a person mends it.

enum ErrorCode {
  ok @0;
  internal @1;
  invalidArgument @2;
  notFound @3;
  alreadyExists @4;
  unauthorized @5;
  forbiddenOrigin @6;
  payloadTooLarge @7;
  unknownFunction @8;
  unknownInstance @9;
  unknownBundle @10;
  unknownModule @11;
  unknownSecret @12;
  functionTimeout @13;
  functionFailed @14;
  appExited @15;
  sandboxFailed @16;
  sandboxUnsupported @17;
  initscriptFailed @18;
  initscriptTrapped @19;
  initscriptDeadline @20;
  initscriptLimit @21;
  runnerLost @22;
  egressDenied @23;
  nameNotResolved @24;
  connectFailed @25;
  connectionReset @26;
  tlsFailed @27;
  badReply @28;
  bodyTruncated @29;
  rpcTimeout @30;
  rpcUnknown @31;
  rpcDuplicate @32;
  messageDuplicate @33;
  appOwns @34;
  miss @35;
  diverged @36;
  alreadyClaimed @37;
  voided @38;
  deadline @39;
  cancelled @40;
  instanceClosed @41;
  instanceMemoryFull @42;
  nodeMemoryFull @43;
  tooMany @44;
  nodeDraining @45;
  bridgeLost @46;
  interrupted @47;
  protocol @48;
  unsupported @49;
  diskFull @50;
  initscriptCpu @51;
  initscriptMemory @52;
  initscriptConnections @53;
  initscriptRpcs @54;
  initscriptMessages @55;
  initscriptBytes @56;
  connectionBusy @57;
  quotaExceeded @58;
  unknownTenant @59;
  unknownService @60;
  notReady @61;
  imagePullFailed @62;
  imageInvalid @63;
  imageInUse @64;
  snapshotFailed @65;
}

struct ErrorInfo {
  code @0 :ErrorCode;
  http @1 :UInt16;
  errno @2 :Int32;     # Linux numbers
  hint @3 :Text;       # how to mend it, for a person
}

struct Error {
  # An expected failure, as a result (never as a Cap'n Proto exception: those are bugs or a lost connection).
  code @0 :ErrorCode;
  message @1 :Text;    # what went wrong, with the values that matter; never a secret
}

const errors :List(ErrorInfo) = [
  (code = ok, http = 200, errno = 0, hint = ""),
  (code = internal, http = 500, errno = 5, hint = "This is a fault of headstart: `headstart logs` has the details."),
  (code = invalidArgument, http = 400, errno = 22, hint = "Correct the value that the message names."),
  (code = notFound, http = 404, errno = 2, hint = "Check the path; `headstart --help` lists what there is."),
  (code = alreadyExists, http = 409, errno = 17, hint = "Choose another name, or delete the existing one first."),
  (code = unauthorized, http = 401, errno = 13, hint = "Send the node's token: `Authorization: Bearer …`."),
  (code = forbiddenOrigin, http = 403, errno = 13, hint = "The API answers only requests for its own loopback address and no web page's: call it from a program."),
  (code = payloadTooLarge, http = 413, errno = 27, hint = "Send less, or raise the limit that the message names in headstart.toml."),
  (code = unknownFunction, http = 404, errno = 2, hint = "Deploy it first: `headstart deploy DIR`."),
  (code = unknownInstance, http = 404, errno = 2, hint = "The instance id is wrong, or its transcript is older than the retention."),
  (code = unknownBundle, http = 409, errno = 2, hint = "The application's files are no longer on the node: deploy it again."),
  (code = unknownModule, http = 409, errno = 2, hint = "Deploy the function again."),
  (code = unknownSecret, http = 424, errno = 126, hint = "Add the secret that [secrets] names to the node's secrets file."),
  (code = functionTimeout, http = 504, errno = 110, hint = "Raise [app.limits] timeout, or make the function faster."),
  (code = functionFailed, http = 502, errno = 5, hint = "The function raised an error: `headstart logs` shows where."),
  (code = appExited, http = 502, errno = 32, hint = "The application ended before it answered: `headstart logs` shows its last lines."),
  (code = sandboxFailed, http = 500, errno = 5, hint = "The sandbox did not start: run `headstart doctor`."),
  (code = sandboxUnsupported, http = 501, errno = 95, hint = "The node lacks this isolation back end: run `headstart doctor`."),
  (code = initscriptFailed, http = 502, errno = 5, hint = "The initscript ended with an error and its policy is `fail`: `headstart trace` shows it."),
  (code = initscriptTrapped, http = 502, errno = 5, hint = "The initscript trapped or threw: `headstart logs` has its stack."),
  (code = initscriptDeadline, http = 504, errno = 110, hint = "Raise [initscript.limits] deadline, or do less in the initscript."),
  (code = initscriptLimit, http = 502, errno = 122, hint = "Raise the limit that the message names in [initscript.limits]."),
  (code = runnerLost, http = 503, errno = 104, hint = "The initscript's runner died and is being replaced: try again."),
  (code = egressDenied, http = 403, errno = 1, hint = "Add the verb and the destination to [egress] allow."),
  (code = nameNotResolved, http = 502, errno = 113, hint = "Check the host name and the node's DNS."),
  (code = connectFailed, http = 502, errno = 111, hint = "Check that the service runs and can be reached from the node."),
  (code = connectionReset, http = 502, errno = 104, hint = "The service closed the connection: see its own log."),
  (code = tlsFailed, http = 502, errno = 71, hint = "Check the service's certificate and name."),
  (code = badReply, http = 502, errno = 71, hint = "The service's answer does not follow its protocol."),
  (code = bodyTruncated, http = 502, errno = 61, hint = "The service sent fewer bytes than it announced: try again."),
  (code = rpcTimeout, http = 504, errno = 110, hint = "The service did not answer in time."),
  (code = rpcUnknown, http = 400, errno = 22, hint = "Send the RPC before you wait for its reply."),
  (code = rpcDuplicate, http = 409, errno = 17, hint = "Give each RPC its own id."),
  (code = messageDuplicate, http = 409, errno = 17, hint = "Give each message its own id."),
  (code = appOwns, http = 409, errno = 16, hint = "The application asked first and does this call itself: send it earlier, or announce it with Expect."),
  (code = miss, http = 404, errno = 42, hint = "The initscript does not send this: the application does the call itself."),
  (code = diverged, http = 409, errno = 116, hint = "The initscript sent something else under this id: see `headstart trace`."),
  (code = alreadyClaimed, http = 409, errno = 114, hint = "A message is received once."),
  (code = voided, http = 409, errno = 116, hint = "It is out of date: the application wrote to this key after it was fetched ahead, or the invocation that it was for has ended."),
  (code = deadline, http = 504, errno = 110, hint = "What was waited for did not come in time."),
  (code = cancelled, http = 499, errno = 125, hint = "The caller went away."),
  (code = instanceClosed, http = 410, errno = 108, hint = "The instance has ended."),
  (code = instanceMemoryFull, http = 507, errno = 12, hint = "Raise [initscript.limits] results, or fetch less."),
  (code = nodeMemoryFull, http = 507, errno = 12, hint = "The node's memory for results is full: wait for instances to end, or raise the node's limit."),
  (code = tooMany, http = 429, errno = 11, hint = "A limit that the message names is reached: try again later."),
  (code = nodeDraining, http = 503, errno = 108, hint = "The node is shutting down: use another, or try again."),
  (code = bridgeLost, http = 503, errno = 104, hint = "The native bridge is restarting: try again."),
  (code = interrupted, http = 410, errno = 4, hint = "The node ended in the middle of this invocation: invoke again."),
  (code = protocol, http = 400, errno = 71, hint = "The peer does not follow the protocol: check that both are of one version."),
  (code = unsupported, http = 501, errno = 95, hint = "This part of the API is not there for this kind of address or application."),
  (code = initscriptCpu, http = 502, errno = 122, hint = "Raise [initscript.limits] cpu, or compute less in the initscript."),
  (code = initscriptMemory, http = 502, errno = 122, hint = "Raise [initscript.limits] memory, or keep less in the initscript."),
  (code = initscriptConnections, http = 502, errno = 122, hint = "Raise [initscript.limits] connections, or use one connection for several RPCs."),
  (code = initscriptRpcs, http = 502, errno = 122, hint = "Raise [initscript.limits] rpcs, or send fewer."),
  (code = initscriptMessages, http = 502, errno = 122, hint = "Raise [initscript.limits] messages, or send fewer."),
  (code = initscriptBytes, http = 502, errno = 122, hint = "Raise [initscript.limits] bytes, or send smaller requests and messages."),
  (code = connectionBusy, http = 409, errno = 16, hint = "Read the whole reply before the connection is handed over."),
  (code = quotaExceeded, http = 429, errno = 122, hint = "The tenant's quota that the message names is used up: wait for instances to end, or raise it."),
  (code = unknownTenant, http = 404, errno = 2, hint = "`headstart tenant list` shows the tenants of the node."),
  (code = unknownService, http = 404, errno = 2, hint = "Deploy it first, with a [service] section: `headstart deploy DIR`."),
  (code = notReady, http = 504, errno = 11, hint = "The service did not become ready in time: `headstart logs` shows its last lines, [service] ready its rule."),
  (code = imagePullFailed, http = 502, errno = 121, hint = "Check the reference and the registry: the message says what it answered. docs/images.md tells which registries a node pulls from."),
  (code = imageInvalid, http = 422, errno = 8, hint = "Build the image again: one of its layers or its configuration is not what an image may have."),
  (code = imageInUse, http = 409, errno = 16, hint = "Something runs from the image: wait until it has ended, then try again."),
  (code = snapshotFailed, http = 502, errno = 5, hint = "Close connections, files of the bridge's and threads that use them before the program is ready; `headstart logs` has what it said. docs/snapshots.md tells what may be in a snapshot."),
  (code = diskFull, http = 507, errno = 28, hint = "Free space on the node's disk, then try again."),
];
