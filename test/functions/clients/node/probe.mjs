// The clients' probe in Node.js: see ../README.md.
import { closeSync } from "node:fs";
import { Client, HeadstartError } from "headstart";

const client = new Client();

const sum = (data) => data.reduce((total, byte) => total + byte, 0);
const idOf = (text) => (text.startsWith("#") ? BigInt(text.slice(1)) : text);

async function described(reply) {
	const early = reply.total !== undefined && reply.there.length < reply.total;
	const data = await reply.bytes();
	const where = reply.file === undefined ? "" : ` at ${reply.file.offset} of ${reply.file.path}`;
	return `ok ${data.length} ${sum(data)} ${reply.status} ${early ? "early" : "whole"}${where}`;
}

async function first(socket) {
	let text = "";
	for await (const piece of socket) {
		text += piece.toString();
		if (text.includes("\n")) break;
	}
	return text.split(/\r?\n/)[0];
}

const steps = {
	recv: async (id, content, how, timeout) =>
		described(
			await client.recvMsg(idOf(id), {
				content,
				progressive: how === "progressive",
				timeout: Number(timeout),
			}),
		),
	call: async (request, length) =>
		described(await client.call(request, { body: new Uint8Array(Number(length)).fill(98) })),
	churn: async (request, times) => {
		for (let done = 0; done < Number(times); done++) {
			const reply = await client.call(request);
			await reply.bytes();
			reply.free();
		}
		return `ok ${times}`;
	},
	threads: async (count, prefix) => {
		const all = Array.from({ length: Number(count) }, (_, at) => client.recvMsg(`${prefix}${at}`));
		return `ok ${(await Promise.all(all)).length}`;
	},
	mark: async (name) => {
		await client.mark(name);
		return "ok";
	},
	send: async (id, length) => {
		await client.sendMsg(idOf(id), new Uint8Array(Number(length)).fill(109));
		return "ok";
	},
	conn: async (id, address, text) => {
		const conn = await client.getConn(idOf(id), address, { timeout: 5000 });
		const socket = conn.socket();
		socket.write(`${text}\n`);
		const line = await first(socket);
		socket.destroy();
		return `ok ${{ tcp: 1, spliced: 2, tls: 3 }[conn.kind]} ${line}`;
	},
	pass: async (id, address, to) => {
		const conn = await client.getConn(idOf(id), address, { timeout: 5000 });
		const isTcp = conn.kind === "tcp";
		await client.transferConn(idOf(to), address, isTcp ? { fd: conn.fd } : { number: conn.number });
		if (!isTcp) closeSync(conn.fd);
		return "ok";
	},
	broken: async (id, address, text) => {
		const conn = await client.getConn(idOf(id), address, { timeout: 5000 });
		const socket = conn.socket().resume();
		socket.write(`${text}\n`);
		await new Promise((resolve) => socket.once("error", resolve).once("end", resolve));
		const { state, error = "ok" } = await client.connStatus(conn.number);
		socket.destroy();
		return `ok ${["open", "ended", "broken"].indexOf(state)} ${error}`;
	},
};

export default async function handler(event) {
	const text = new TextDecoder().decode(event);
	const lines = [];
	for (const line of (text.split("\n---\n")[1] ?? "").split("\n")) {
		const [name, ...fields] = line.split("\t");
		if (name === "event") lines.push(`ok ${event.length} ${sum(event)}`);
		if (name === "sleep") await new Promise((resolve) => setTimeout(resolve, Number(fields[0])));
		if (name === "answer") return new Uint8Array(Number(fields[0])).fill(120);
		if (name === "status") return { status: Number(fields[0]), body: lines.map((it) => `${it}\n`).join("") };
		if (name === "fail") throw new Error(fields[0]);
		if (!Object.hasOwn(steps, name)) continue;
		try {
			lines.push(await steps[name](...fields));
		} catch (error) {
			if (!(error instanceof HeadstartError)) throw error;
			lines.push(`error ${error.code}`);
		}
	}
	return lines.map((line) => `${line}\n`).join("");
}
