import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NodeClient } from "./client.ts";
import { inRoot } from "./paths.ts";

let server: Server;
let url: string;
let asked: Promise<[{ body: string; answer: ServerResponse }]>;

beforeEach(async () => {
	server = createServer(async (request, answer) => {
		let body = "";
		for await (const piece of request) body += piece;
		server.emit("asked", { body, answer });
	});
	asked = once(server, "asked") as typeof asked;
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const address = server.address();
	url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
});

afterEach(() => {
	server.closeAllConnections();
	server.close();
});

test("a long request is answered piece by piece", async () => {
	const opened = new NodeClient(url).open("/x", { method: "POST", body: Buffer.from("event") });
	const [{ body, answer }] = await asked;
	expect(body).toBe("event");
	answer.writeHead(418, { "x-a": ["1", "2"] });
	answer.write("one ");
	const response = await opened;
	expect([response.status, response.headers.get("x-a")]).toEqual([418, "1, 2"]);
	answer.end("two");
	expect(await response.text()).toBe("one two");
});

test("an answer without a body, and no node", async () => {
	const opened = new NodeClient(url).open("/x");
	const [{ answer }] = await asked;
	answer.writeHead(204).end();
	expect((await opened).body).toBeNull();
	await expect(new NodeClient("http://127.0.0.1:1").open("/x")).rejects.toThrow("no node answers at");
});

test.each([
	["SIGINT", 130],
	["SIGTERM", 143],
] as const)("%s resets the connection of an invocation", async (signal, status) => {
	const child = spawn(inRoot("bin/headstart"), ["invoke", "f", "--node", url], { stdio: "ignore" });
	const [{ answer }] = await asked;
	const failed = once(answer.req.socket, "error");
	child.kill(signal);
	expect(await once(child, "exit")).toEqual([status, null]);
	expect(await failed).toMatchObject([{ code: "ECONNRESET" }]);
});
