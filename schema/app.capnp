@0xe4a90d17c2b6583f;
# Numbers of the application's socket (docs/app-protocol.md has the layout). Not Cap'n Proto on the wire: packets of a
# fixed 64-byte header, so that a C client stays small. The numbers are here so that they are defined once.

enum AppOp {
  none @0;
  hello @1;
  recvMsg @2;
  await @3;
  outbox @4;
  call @5;
  next @6;
  respond @7;
  free @8;
  mark @9;
  sendMsg @10;
  getConn @11;
  transferConn @12;
  connStatus @13;
  segment @14;
  checkpoint @15;
}

const version :UInt16 = 1;
const headerBytes :UInt32 = 64;
const maxPacketBytes :UInt32 = 4096;

const flagProgressive :UInt32 = 1;   # recvMsg, call: answer as soon as the length is known
const flagDone :UInt32 = 2;          # answers: all bytes are there
const flagFd :UInt32 = 4;            # answers: the segment's fd is beside this packet
const flagInline :UInt32 = 8;        # the bytes are this packet's payload
const flagBegin :UInt32 = 16;        # respond: payload is the answer's head
const flagEnd :UInt32 = 32;          # respond: the last piece
const flagError :UInt32 = 64;        # respond: the handler failed, payload says how; checkpoint: the program is not ready
const flagLengthKnown :UInt32 = 128; # answers: total is final
const flagNoFd :UInt32 = 256;        # requests: no fd beside the answer, this program looks its segment up itself
const flagFile :UInt32 = 512;        # answers: the bytes lie in the file whose path is the payload; no fd
