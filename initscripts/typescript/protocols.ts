/**
 * Module `headstart/protocols`: requests and replies of services that are not HTTP (docs/network.md). It is bundled into the
 * initscripts that import it.
 */

/** Bytes, or a text's UTF-8. */
export type Text = string | Uint8Array;

/** A value of a Redis reply that has parts: maps are arrays of pairs, errors are texts in `{ error }`. */
export type RedisValue = string | number | boolean | null | { error: string } | RedisValue[];

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Arrays in arrays; the platform passes on no deeper ones. */
const MAX_DEPTH = 64;

/**
 * A Redis command, its words as they are.
 *
 * @example sendRpc(connect("redis://cache:6379"), "model", redisCommand("GET", "model:7"));
 */
export function redisCommand(...words: readonly (Text | number)[]): Uint8Array {
	const parts = words.flatMap((word) => {
		const body = bytes(typeof word === "number" ? String(word) : word);
		return [bytes(`$${body.length}\r\n`), body, bytes("\r\n")];
	});
	return concat([bytes(`*${words.length}\r\n`), ...parts]);
}

/** Reads a Redis reply that has parts (content-type "application/resp"). Throws SyntaxError for what is none. */
export function redisReply(reply: Uint8Array): RedisValue {
	const reader = new Reader(reply);
	const value = reader.value(0);
	if (!reader.isAtEnd) throw new SyntaxError("there is more behind the reply");
	return value;
}

/** memcached's "mg": the value under a key. Its status is 2 when there is none. */
export function memcachedGet(key: string): string {
	return `mg ${key} v`;
}

/** memcached's "ms": sets a value; flags as in "T60". */
export function memcachedSet(key: string, value: Text, ...flags: readonly string[]): Uint8Array {
	return concat([bytes(`${["ms", key, ...flags].join(" ")}\n\n`), bytes(value)]);
}

/** An SQS request without the queue's URL, which the platform adds: `sqs("SendMessage", { MessageBody: "…" })`. */
export function sqs(action: string, members: Record<string, unknown> = {}): string {
	return `${action}\n\n${JSON.stringify(members)}`;
}

/** Claims at most `count` tasks (1 to 10) for `visibility` seconds; waits up to `wait` seconds for one. */
export function sqsReceive(count = 1, visibility = 30, wait = 0): string {
	const members = { MaxNumberOfMessages: count, VisibilityTimeout: visibility, WaitTimeSeconds: wait };
	return sqs("ReceiveMessage", members);
}

/** A claimed task. */
export interface SqsTask {
	body: string;
	/** What {@link sqsDelete} takes. */
	receipt: string;
}

/** The tasks in the reply to {@link sqsReceive}. Throws SyntaxError for what is no such reply. */
export function sqsTasks(reply: Uint8Array): SqsTask[] {
	const { Messages = [] } = JSON.parse(decoder.decode(reply)) as {
		Messages?: { Body: string; ReceiptHandle: string }[];
	};
	return Messages.map(({ Body, ReceiptHandle }) => ({ body: Body, receipt: ReceiptHandle }));
}

/** Removes a task that is done. */
export function sqsDelete(receipt: string): string {
	return sqs("DeleteMessage", { ReceiptHandle: receipt });
}

/**
 * A unary gRPC call with an encoded message.
 *
 * @example sendRpc(connect("grpc://kv:2379"), "range", grpcUnary("/etcdserverpb.KV/Range", message));
 */
export function grpcUnary(
	method: string,
	message: Uint8Array,
	metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
	const lines = Object.entries(metadata).map(([name, value]) => `${name}: ${value}\n`);
	return concat([bytes(`${method}\n${lines.join("")}\n`), message]);
}

function bytes(text: Text): Uint8Array {
	return typeof text === "string" ? encoder.encode(text) : text;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
	const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of parts) {
		all.set(part, at);
		at += part.length;
	}
	return all;
}

/** Reads RESP values one after the other. */
class Reader {
	readonly #bytes: Uint8Array;
	#at = 0;

	constructor(bytes: Uint8Array) {
		this.#bytes = bytes;
	}

	get isAtEnd(): boolean {
		return this.#at === this.#bytes.length;
	}

	value(depth: number): RedisValue {
		if (depth > MAX_DEPTH) throw new SyntaxError("the reply is nested too deep");
		const line = this.#line();
		const text = line.slice(1);
		switch (line[0]) {
			case "+":
			case "(":
				return text;
			case "-":
				return { error: text };
			case ":":
			case ",":
				return number(text);
			case "#":
				return text === "t";
			case "_":
				return null;
			case "$":
				return this.#string(text);
			case "=":
				return this.#string(text)?.slice(4) ?? null;
			case "!":
				return { error: this.#string(text) ?? "" };
			case "*":
			case "~":
				return this.#array(text, () => this.value(depth + 1));
			case "%":
				return this.#array(text, () => [this.value(depth + 1), this.value(depth + 1)]);
			default:
				throw new SyntaxError("the reply is no RESP");
		}
	}

	#array(count: string, next: () => RedisValue): RedisValue[] | null {
		const left = number(count);
		if (left < 0) return null;
		const values: RedisValue[] = [];
		while (values.length < left) values.push(next());
		return values;
	}

	#string(count: string): string | null {
		const length = number(count);
		if (length < 0) return null;
		const end = this.#at + length;
		if (end + 2 > this.#bytes.length) throw new SyntaxError("the reply is cut off");
		const text = decoder.decode(this.#bytes.subarray(this.#at, end));
		this.#at = end + 2;
		return text;
	}

	#line(): string {
		const end = this.#bytes.indexOf(13, this.#at);
		if (end < 0 || this.#bytes[end + 1] !== 10) throw new SyntaxError("the reply is cut off");
		const line = decoder.decode(this.#bytes.subarray(this.#at, end));
		this.#at = end + 2;
		return line;
	}
}

/** RESP writes "inf" and "nan" in small letters. */
function number(text: string): number {
	if (text === "inf" || text === "-inf") return text === "inf" ? Infinity : -Infinity;
	if (text === "nan") return NaN;
	const value = Number(text);
	if (text === "" || Number.isNaN(value)) throw new SyntaxError(`${text} is no number`);
	return value;
}
