import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
	EVENT,
	type Event,
	FUNCTION,
	type Function as FunctionSpec,
	readEvent,
	readFunction,
	writeEvent,
	writeFunction,
} from "../generated/bridge.ts";
import { Framer } from "./framing.ts";
import type { StructReader } from "./reader.ts";
import { MessageWriter } from "./writer.ts";

const schema = join(import.meta.dirname, "../../../schema/bridge.capnp");

/** What Cap'n Proto's own tool makes of a message. */
function convert(formats: string, type: string, input: Uint8Array | string): Buffer {
	return execFileSync("capnp", ["convert", formats, schema, type], { input });
}

function parse(bytes: Uint8Array): StructReader {
	const framer = new Framer();
	framer.push(bytes);
	const message = framer.next();
	if (message === undefined) throw new Error("the message is not complete");
	return message.root();
}

const imgrec: FunctionSpec = {
	digest: "ab".repeat(32),
	name: "imgrec",
	tenant: "default",
	bundle: "sha256:00",
	isolation: "gvisor",
	base: "host",
	command: ["python3", "-m", "headstart.runtime", "function:handler", ""],
	env: [{ name: "GREETING", value: "grüß dich 👋" }],
	limits: {
		memory: 1n << 33n,
		cpuMillis: 1500,
		pids: 64,
		timeoutMillis: 30_000,
		results: 1n << 28n,
		rpcs: 1,
		connections: 2,
		messages: 3,
		rpcTimeoutMillis: 4,
		eventBytes: 5n,
		answerBytes: 6n,
	},
	egress: Array.from({ length: 100 }, (_, index) => `GET s3://bucket-${index}/*`),
	secrets: [{ name: "s3", value: "dev-store" }],
	marks: [],
	network: true,
	share: ["GET s3://models/*"],
	shareTtlMillis: 60_000,
	image: "registry:5000/imgrec@sha256:00",
	files: [{ path: "/var/cache/x", bytes: 1n << 28n }],
};

test("what is written reads as Cap'n Proto's own tool reads it", () => {
	const message = new MessageWriter();
	writeFunction(message.root(FUNCTION), imgrec);
	const bytes = message.finish();
	const json = JSON.parse(convert("binary:json", "Function", bytes).toString());
	expect(json).toMatchObject({
		name: "imgrec",
		network: true,
		share: ["GET s3://models/*"],
		shareTtlMillis: 60_000,
		image: imgrec.image,
		env: imgrec.env,
		egress: imgrec.egress,
		command: imgrec.command,
	});
	expect(json.limits).toMatchObject({ memory: String(1n << 33n), cpuMillis: 1500, answerBytes: "6" });
	expect(readFunction(parse(bytes))).toEqual(imgrec);
});

test("messages of Cap'n Proto's own tool are read, in one segment or many", () => {
	const text = JSON.stringify({
		name: "n".repeat(20_000),
		command: ["a".repeat(9000), "b".repeat(9000), "c"],
		egress: ["x"],
	});
	const whole = readFunction(parse(convert("json:binary", "Function", text)));
	expect(whole).toMatchObject({ name: "n".repeat(20_000), egress: ["x"], network: false, tenant: "" });
	expect(whole.command.map((it) => it.length)).toEqual([9000, 9000, 1]);
});

test("each variant of a union survives", () => {
	const reply = {
		status: 200,
		segment: 1,
		offset: 0n,
		length: 3n,
		inlined: Uint8Array.of(1, 2, 3),
		headers: [],
		attempts: 1,
		place: "",
	};
	const events: Event[] = [
		{ seq: 1n, at: 5n, which: "started" },
		{ seq: 2n, at: 6n, which: "rpcDone", rpcDone: { rpc: 7n, reply, error: { code: "ok", message: "" } } },
		{ seq: 3n, at: 7n, which: "published", published: 0xffff_ffff_ffff_ffffn },
		{
			seq: 4n,
			at: 8n,
			which: "sandboxExited",
			sandboxExited: { status: -1, signal: 9, error: { code: "appExited", message: "gone" } },
		},
	];
	for (const event of events) {
		const message = new MessageWriter(16);
		writeEvent(message.root(EVENT), event);
		expect(readEvent(parse(message.finish()))).toEqual(event);
	}
});

test("a message in pieces is read when its last byte is there, and two at once are two", () => {
	const message = new MessageWriter();
	writeFunction(message.root(FUNCTION), imgrec);
	const bytes = message.finish();
	const framer = new Framer();
	for (const byte of bytes.subarray(0, -1)) {
		framer.push(Uint8Array.of(byte));
		expect(framer.next()).toBeUndefined();
	}
	framer.push(Uint8Array.of(bytes.at(-1) ?? 0, ...bytes));
	expect(readFunction((framer.next() ?? fail()).root()).name).toBe("imgrec");
	expect(readFunction((framer.next() ?? fail()).root()).name).toBe("imgrec");
	expect(framer.next()).toBeUndefined();
});

test("damaged messages are RangeErrors, never anything else", () => {
	const message = new MessageWriter();
	writeFunction(message.root(FUNCTION), imgrec);
	const sound = message.finish();
	let seed = 1;
	const random = (below: number): number => {
		seed = (seed * 48271) % 2147483647;
		return seed % below;
	};
	for (let round = 0; round < 3000; round++) {
		const bytes = sound.slice();
		for (let flips = 0; flips < 4; flips++) bytes[8 + random(bytes.length - 8)] = random(256);
		try {
			readFunction(parse(bytes));
		} catch (error) {
			expect(error).toBeInstanceOf(RangeError);
		}
	}
	expect(() => parse(Uint8Array.of(255, 255, 0, 0, 0, 0, 0, 0))).toThrow(RangeError);
});

function fail(): never {
	throw new Error("no message");
}
