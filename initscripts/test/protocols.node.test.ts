import { expect, test } from "vitest";
import {
	grpcUnary,
	memcachedGet,
	memcachedSet,
	redisCommand,
	redisReply,
	sqsDelete,
	sqsReceive,
	sqsTasks,
} from "../typescript/protocols.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const reply = (text: string): ReturnType<typeof redisReply> => redisReply(new TextEncoder().encode(text));

test("requests are as the platform reads them", () => {
	expect(text(redisCommand("SETEX", "clé", 60, new Uint8Array([0x0a])))).toBe(
		"*4\r\n$5\r\nSETEX\r\n$4\r\nclé\r\n$2\r\n60\r\n$1\r\n\n\r\n",
	);
	expect(memcachedGet("k")).toBe("mg k v");
	expect(text(memcachedSet("k", "value", "T60"))).toBe("ms k T60\n\nvalue");
	expect(sqsReceive(2, 60, 1)).toBe(
		'ReceiveMessage\n\n{"MaxNumberOfMessages":2,"VisibilityTimeout":60,"WaitTimeSeconds":1}',
	);
	expect(sqsDelete('"')).toBe('DeleteMessage\n\n{"ReceiptHandle":"\\""}');
	expect(text(grpcUnary("/a.B/C", new TextEncoder().encode("m"), { "x-a": "b" }))).toBe(
		"/a.B/C\nx-a: b\n\nm",
	);
	expect(text(grpcUnary("/a.B/C", new Uint8Array()))).toBe("/a.B/C\n\n");
});

test("replies that have parts are read", () => {
	expect(reply("*3\r\n$1\r\na\r\n:-1\r\n*2\r\n_\r\n#t\r\n")).toEqual(["a", -1, [null, true]]);
	expect(reply("%1\r\n+k\r\n,1.5\r\n")).toEqual([["k", 1.5]]);
	expect(reply("*4\r\n$-1\r\n*-1\r\n-ERR x\r\n,inf\r\n")).toEqual([null, null, { error: "ERR x" }, Infinity]);
	expect(reply("=7\r\ntxt:abc\r\n")).toBe("abc");
	const tasks = new TextEncoder().encode('{"Messages":[{"Body":"b","ReceiptHandle":"r"}]}');
	expect(sqsTasks(tasks)).toEqual([{ body: "b", receipt: "r" }]);
	expect(sqsTasks(new TextEncoder().encode("{}"))).toEqual([]);
});

test.each(["", "*1", "*1\r\n", "$5\r\nabc\r\n", "x\r\n", "*x\r\n", "+a\r\n+b\r\n", "*1\r\n".repeat(100)])(
	"%j is no reply",
	(broken) => {
		expect(() => reply(broken)).toThrow(SyntaxError);
	},
);
