import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { Connection, parseAnswer } from "./connection.ts";

const answer = (text: string): ReturnType<typeof parseAnswer> => parseAnswer(Buffer.from(text));

test("an answer is whole when all its bytes are there", () => {
	const sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello";
	for (let length = 0; length < sized.length; length++)
		expect(answer(sized.slice(0, length))).toBeUndefined();
	expect(answer(sized)).toMatchObject({ status: 200, body: "hello" });
	expect(answer(sized)?.headers.get("x-a")).toBe("b");
	const chunks =
		"HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
	for (let length = 0; length < chunks.length; length++)
		expect(answer(chunks.slice(0, length))).toBeUndefined();
	expect(answer(chunks)).toMatchObject({ status: 404, body: "hello" });
	expect(answer("HTTP/1.1 204 No Content\r\n\r\n")).toMatchObject({ status: 204, body: "" });
	expect(() => answer("SSH-2.0-x\r\n\r\n")).toThrow("no answer of HTTP/1.1");
});

test("requests go over one connection, with the moment of sending", async () => {
	const ports = new Set<number | undefined>();
	const server = createServer((request, response) => {
		ports.add(request.socket.remotePort);
		let body = "";
		request.on("data", (piece: Buffer) => {
			body += piece.toString();
		});
		request.on("end", () =>
			response.end(JSON.stringify([request.method, body, request.headers["x-headstart-sent"]])),
		);
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const { port } = server.address() as AddressInfo;
	const connection = new Connection(`http://127.0.0.1:${port}`, 5000);
	try {
		const before = process.hrtime.bigint();
		const [method, body, sent] = JSON.parse((await connection.send("POST", "/x", "{}")).body);
		expect([method, body]).toEqual(["POST", "{}"]);
		expect(BigInt(sent)).toBeGreaterThanOrEqual(before);
		expect(BigInt(sent)).toBeLessThan(process.hrtime.bigint());
		expect(JSON.parse((await connection.send("GET", "/y")).body)).toEqual(["GET", "", null]);
		expect(ports.size).toBe(1);
	} finally {
		connection.close();
		server.close();
	}
});
