import { request } from "node:http";
import { performance } from "node:perf_hooks";
import type { Seen } from "./judge.ts";

/** Longest wait for an invocation's end, ms: beyond what any cell may take. */
const PATIENCE = 40_000;

export interface Sent {
	/** Resolves when the first bytes of the answer's body are there. */
	begun: Promise<void>;
	seen: Promise<Seen>;
}

/** A cold invocation on a connection of its own. Nothing of it rejects. */
export function invoke(url: string, name: string, event: unknown): Sent {
	const began = performance.now();
	let instance = "";
	let body = "";
	let begun = (): void => {};
	const answering = new Promise<void>((resolve) => {
		begun = resolve;
	});
	const seen = new Promise<Seen>((resolve) => {
		const ms = (): number => performance.now() - began;
		const cut = (error: Error): void => resolve({ kind: "cut", message: error.message, ms: ms(), instance });
		const asked = request(
			`${url}/v1/functions/${name}/invocations?cold=1`,
			{ method: "POST", agent: false, timeout: PATIENCE },
			(response) => {
				const header = response.headers["x-headstart-instance"];
				instance = typeof header === "string" ? header : "";
				response.setEncoding("utf8");
				response.on("data", (chunk: string) => {
					body += chunk;
					begun();
				});
				response.on("error", cut);
				response.on("end", () =>
					resolve({ kind: "answer", status: response.statusCode ?? 0, body, ms: ms(), instance }),
				);
			},
		);
		asked.on("timeout", () => asked.destroy(new Error(`no answer within ${PATIENCE / 1000} s`)));
		asked.on("error", cut);
		asked.end(JSON.stringify(event));
	});
	return { begun: answering, seen };
}
