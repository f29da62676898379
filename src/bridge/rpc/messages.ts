/**
 * The messages of Cap'n Proto's RPC protocol (its rpc.capnp, level 1) that a client sends and receives. The numbers are
 * that file's discriminants and offsets.
 */
import { EMPTY_STRUCT, type StructReader } from "../wire/reader.ts";
import { MessageWriter, type StructSize, type StructWriter } from "../wire/writer.ts";

const MESSAGE: StructSize = { data: 8, pointers: 1 };
const CALL: StructSize = { data: 24, pointers: 3 };
const TARGET: StructSize = { data: 8, pointers: 1 };
const PROMISED_ANSWER: StructSize = { data: 8, pointers: 1 };
const PROMISED_ANSWER_OP: StructSize = { data: 8, pointers: 0 };
const PAYLOAD: StructSize = { data: 0, pointers: 2 };
const SMALL: StructSize = { data: 8, pointers: 0 };

const Which = {
	unimplemented: 0,
	abort: 1,
	call: 2,
	return: 3,
	finish: 4,
	resolve: 5,
	release: 6,
	bootstrap: 8,
};

/** What a call addresses: a capability that the peer hosts, or a pointer field of an answer that is not there yet. */
export type Target = { importId: number } | { questionId: number; field: number | undefined };

export interface CallHead {
	questionId: number;
	target: Target;
	interfaceId: bigint;
	methodId: number;
	paramsSize: StructSize;
	writeParams: (params: StructWriter) => void;
}

export function bootstrapMessage(questionId: number): Uint8Array<ArrayBuffer> {
	const message = new MessageWriter(64);
	open(message, Which.bootstrap, { data: 8, pointers: 1 }).uint32(0, questionId);
	return message.finish();
}

export function callMessage(head: CallHead): Uint8Array<ArrayBuffer> {
	const message = new MessageWriter();
	const call = open(message, Which.call, CALL);
	call.uint32(0, head.questionId);
	call.uint16(4, head.methodId);
	call.uint64(8, head.interfaceId);
	const target = call.struct(0, TARGET);
	if ("importId" in head.target) {
		target.uint32(0, head.target.importId);
	} else {
		target.uint16(4, 1);
		const answer = target.struct(0, PROMISED_ANSWER);
		answer.uint32(0, head.target.questionId);
		const { field } = head.target;
		if (field !== undefined) {
			answer.structs(0, PROMISED_ANSWER_OP, [field], (op, index) => {
				op.uint16(0, 1);
				op.uint16(2, index);
			});
		}
	}
	head.writeParams(call.struct(1, PAYLOAD).struct(0, head.paramsSize));
	return message.finish();
}

/** Ends a question. With `releaseResultCaps` the peer also drops what the answer's capabilities were counted. */
export function finishMessage(questionId: number, releaseResultCaps: boolean): Uint8Array<ArrayBuffer> {
	const message = new MessageWriter(64);
	const finish = open(message, Which.finish, SMALL);
	finish.uint32(0, questionId);
	// Both flags are true by default, and defaults are stored inverted: 1 means false.
	finish.bool(32, !releaseResultCaps);
	finish.bool(33, true);
	return message.finish();
}

export function releaseMessage(importId: number, count: number): Uint8Array<ArrayBuffer> {
	const message = new MessageWriter(64);
	const release = open(message, Which.release, SMALL);
	release.uint32(0, importId);
	release.uint32(4, count);
	return message.finish();
}

function open(message: MessageWriter, which: number, size: StructSize): StructWriter {
	const root = message.root(MESSAGE);
	root.uint16(0, which);
	return root.struct(0, size);
}

/** A message from the peer, as far as a client understands it. */
export type Incoming =
	| { kind: "return"; answerId: number; result: ReturnResult }
	| { kind: "resolve"; importId: number | undefined }
	| { kind: "abort"; reason: string }
	| { kind: "ignored" }
	| { kind: "unexpected"; which: number };

export type ReturnResult =
	| {
			kind: "results";
			content: StructReader;
			rootCapability: number | undefined;
			capabilities: CapabilityEntry[];
	  }
	| { kind: "exception"; type: ExceptionType; reason: string }
	| { kind: "canceled" };

export type ExceptionType = "failed" | "overloaded" | "disconnected" | "unimplemented";
const EXCEPTION_TYPES: readonly ExceptionType[] = ["failed", "overloaded", "disconnected", "unimplemented"];

/** The id of a capability that the peer hosts; undefined for one that it does not give. */
export type CapabilityEntry = number | undefined;

export function readMessage(root: StructReader): Incoming {
	const which = root.uint16(0);
	const body = root.struct(0);
	switch (which) {
		case Which.return:
			return { kind: "return", answerId: body.uint32(0), result: readReturn(body) };
		case Which.resolve:
			// The promise stays a valid address; what it became was counted for us and must be released.
			return { kind: "resolve", importId: body.uint16(4) === 0 ? readCapability(body.struct(0)) : undefined };
		case Which.abort:
			return { kind: "abort", reason: body.text(0) };
		case Which.finish:
		case Which.release:
			return { kind: "ignored" };
		default:
			return { kind: "unexpected", which };
	}
}

function readReturn(body: StructReader): ReturnResult {
	const payload = body.struct(0);
	switch (body.uint16(6)) {
		case 0: {
			const capabilities = payload.list(1).map(readCapability);
			return { kind: "results", ...readContent(payload), capabilities };
		}
		case 1:
			return {
				kind: "exception",
				type: EXCEPTION_TYPES[payload.uint16(4)] ?? "failed",
				reason: payload.text(0),
			};
		default:
			return { kind: "canceled" };
	}
}

/** An answer's content is a struct, except a bootstrap's: a bare capability. */
function readContent(payload: StructReader): { content: StructReader; rootCapability: number | undefined } {
	const rootCapability = payload.isCapability(0) ? payload.capability(0) : undefined;
	const content = rootCapability === undefined ? payload.struct(0) : EMPTY_STRUCT;
	return { content, rootCapability };
}

function readCapability(descriptor: StructReader): CapabilityEntry {
	const which = descriptor.uint16(0);
	// senderHosted, senderPromise
	return which === 1 || which === 2 ? descriptor.uint32(4) : undefined;
}
