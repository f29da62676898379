/** Hostile initscripts in TypeScript: each ends with one of the codes that are said with it, or harmlessly. */
import { type Case, type Stage, Uncontained } from "../case.ts";
import { deployHostile, type Outcome, runScript } from "../functions.ts";

interface Script {
	name: string;
	/** The body of main; `api` is module "headstart". */
	body: string;
	/** The errors that may end it; "ok": it may also end harmlessly. */
	ends: readonly string[];
	/** What its log must say, where that tells. */
	says?: string;
}

/** What ends a script that takes what is not limited for one isolate: its runner. */
const ENDED = ["runnerLost", "initscriptCpu", "initscriptMemory", "initscriptDeadline"];

const SCRIPTS: readonly Script[] = [
	{ name: "js: endless loop", body: "for (;;);", ends: ENDED },
	{
		name: "js: endless microtasks",
		body: "const again = () => Promise.resolve().then(again); await again();",
		ends: ENDED,
	},
	{
		name: "js: catastrophic regular expression",
		body: "/^(a+)+$/.test('a'.repeat(40) + 'b');",
		ends: ENDED,
	},
	{
		name: "js: heap bomb",
		body: "const all = []; for (;;) all.push(Array.from({ length: 10_000 }, (_, i) => ({ i })));",
		ends: [...ENDED, "initscriptTrapped"],
	},
	{
		name: "js: ArrayBuffer bomb",
		body: "const all = []; for (;;) all.push(new Uint8Array(1 << 28).fill(1));",
		ends: [...ENDED, "initscriptTrapped"],
	},
	{
		name: "js: string bomb",
		body: "let text = 'x'; for (;;) text += text;",
		ends: [...ENDED, "initscriptTrapped"],
	},
	{
		name: "js: recursion",
		body: "const down = (n) => down(n + 1) + 1; down(0);",
		ends: ["initscriptTrapped"],
	},
	{
		name: "js: a million sends",
		body: "for (let i = 0n; i < 1_000_000n; i++) api.sendMsg(i, 'x');",
		ends: ["initscriptMessages", "initscriptLimit", "initscriptBytes"],
	},
	{
		name: "js: a million lines",
		body: "for (let i = 0; i < 1_000_000; i++) console.log('x'.repeat(1000));",
		ends: ["initscriptLimit", "initscriptBytes"],
	},
	{
		name: "js: promise flood",
		body: `const conn = api.connect("s3://inputs");
			await Promise.all(Array.from({ length: 100_000 }, (_, i) => api.recvRpcReply(conn, BigInt(i)).catch(() => {})));`,
		ends: ["ok", "initscriptLimit", ...ENDED],
	},
	{
		name: "js: forged handles",
		body: `let got = 0;
			for (const conn of [0, -1, 7, 1e9, NaN, "1", {}, null]) {
				try { api.sendRpc(conn, 1n, "GET /big\\n\\n"); await api.recvRpcReply(conn, 1n); got++; } catch {}
				try { api.transferConn("stolen", "tcp://127.0.0.1:1", conn); got++; } catch {}
			}
			for (const rpc of [0n, -1n, 1n << 64n, 1n << 200n]) {
				try { (await api.readReply(rpc)).length; got++; } catch {}
				try { api.sendReply(1n, rpc); } catch {}
			}
			console.log("got " + got);`,
		ends: ["ok", "initscriptTrapped"],
		says: "got 0",
	},
	{
		name: "js: prototypes of the shim",
		body: `for (const proto of [Array.prototype, Map.prototype, Set.prototype, Promise.prototype, Object.prototype])
				for (const name of Object.getOwnPropertyNames(proto)) {
					try { if (typeof proto[name] === "function") proto[name] = () => ({ op: "connect", conn: -1, address: {} }); } catch {}
				}
			api.sendMsg(1n, "x"); api.expect(2 ** 40);`,
		ends: ["ok", "initscriptTrapped", "initscriptLimit", "initscriptDeadline", "protocol", "invalidArgument"],
	},
	{
		name: "js: ways out",
		body: `const out = [];
			const tries = {
				fetch: () => fetch("http://169.254.169.254/"),
				socket: async () => { const { connect } = await import(["cloudflare", "sockets"].join(":")); await connect("127.0.0.1:22").opened; },
				websocket: () => new Promise((resolve, reject) => { const ws = new WebSocket("ws://127.0.0.1:1"); ws.onopen = resolve; ws.onerror = reject; }),
				eval: () => eval("1 + 1"),
				function: () => new Function("return 1")(),
				import: () => import(["node", "fs"].join(":")),
				process: () => { if (typeof process === "undefined") throw 0; return process.binding("fs"); },
				caches: () => caches.default.put("http://x/", new Response("x")),
				wasm: () => WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])),
			};
			for (const [name, attempt] of Object.entries(tries)) {
				try { await attempt(); out.push(name); } catch {}
			}
			console.log("out: " + out.join(" "));`,
		ends: ["ok"],
		says: "out:$",
	},
	{
		name: "js: another instance's handles",
		body: `let got = 0;
			for (let i = 0n; i < 200n; i++) { try { await api.readReply(i); got++; } catch {} }
			for (const id of ["result", "weights", "GET s3://inputs/small"]) { try { await api.readReply(id); got++; } catch {} }
			console.log("got " + got);`,
		ends: ["ok"],
		says: "got 0",
	},
	{
		name: "js: a shared counter that waits",
		body: "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);",
		ends: [...ENDED, "initscriptTrapped"],
	},
];

export const scriptCases: readonly Case[] = SCRIPTS.map((script, number) => {
	const name = `js-${number}`;
	return {
		name: script.name,
		async prepare({ attacker }: Stage): Promise<undefined> {
			const content = `import * as api from "headstart";\nexport default async function main() {\n${script.body}\n}\n`;
			await deployHostile(attacker, { name, script: { file: "initscript.js", content } });
		},
		async attack({ attacker }: Stage): Promise<string> {
			const outcome = await runScript(attacker, name);
			const how = ended(outcome, script.ends);
			if (script.says !== undefined) await said(attacker, outcome, script.says);
			return how;
		},
	};
});

/** In words how a script ended, when it is one of the ways that it may. */
export function ended({ status, code, message }: Outcome, ends: readonly string[]): string {
	if (status === 200 && code === "") {
		if (ends.includes("ok")) return "it came to nothing";
		throw new Uncontained("the script ended as if nothing had been wrong");
	}
	if (ends.includes(code)) return `${code}: ${message}`;
	throw new Uncontained(`status ${status}, ${code || "no code"}: ${message}`);
}

/** Checks a script's own last line about what it could do. */
async function said(client: Stage["attacker"], { instance }: Outcome, wanted: string): Promise<void> {
	const record = await client.json<{ scriptLines: { text: string }[] }>(`/v1/instances/${instance}`);
	const lines = record.scriptLines.map(({ text }) => text);
	if (!lines.some((line) => new RegExp(`^${wanted}`).test(line.trimEnd())))
		throw new Uncontained(`the script said: ${lines.join(" | ").slice(0, 300) || "nothing"}`);
}
