import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { failure } from "../src/cli/client.ts";
import type { InstanceRecord, ScriptRun, TraceEvent } from "../src/shared/record.ts";

/** How a start is to run: query parameters of an invocation. */
export interface How {
	/** The app without headstart: its own client, no initscript. */
	direct?: boolean;
	/** The initscript without the app. */
	scriptOnly?: boolean;
}

/** A cold start that came to its end. */
export interface Start {
	instance: string;
	/** The function's answer, parsed; of a script alone its {@link ScriptRun}. */
	answer: unknown;
	events: TraceEvent[];
}

/** Longest time to wait for an answer, and for an instance to be reaped, ms. */
const ANSWER = 60_000;
const REAPED = 20_000;

/** Cold starts at one node, over one kept connection. */
export class Invoker {
	readonly #url: string;
	readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

	constructor(url: string) {
		this.#url = url;
	}

	/** Starts a function in a fresh instance, waits until that is over and reaped, and returns what was stamped. */
	async start(name: string, event: unknown, how: How = {}): Promise<Start> {
		const query = new URLSearchParams({ cold: "1" });
		if (how.direct) query.set("mode", "direct");
		if (how.scriptOnly) query.set("only", "initscript");
		const path = `/v1/functions/${name}/invocations?${query}`;
		const { body, headers } = await this.#send("POST", path, JSON.stringify(event));
		const answer: unknown = JSON.parse(body);
		if (how.scriptOnly) {
			const run = answer as ScriptRun;
			if (run.error !== undefined)
				throw new Error(`the initscript of ${name}: ${run.error.message} (${run.error.code})`);
			await this.#ended(run.instance);
			return { instance: run.instance, answer, events: run.events };
		}
		const instance = headers["x-headstart-instance"];
		if (typeof instance !== "string") throw new Error("the node's answer has no x-headstart-instance");
		const { events } = await this.#ended(instance);
		return { instance, answer, events };
	}

	close(): void {
		this.#agent.destroy();
	}

	async #ended(instance: string): Promise<InstanceRecord> {
		const until = Date.now() + REAPED;
		for (;;) {
			const { body } = await this.#send("GET", `/v1/instances/${instance}`);
			const record = JSON.parse(body) as InstanceRecord;
			if (record.state !== "running" && record.state !== "warm") return record;
			if (Date.now() > until)
				throw new Error(`instance ${instance} is still ${record.state} after ${REAPED / 1000} s`);
			await sleep(20);
		}
	}

	/** The moment of sending is stamped last: what a client does before that is no part of a start. */
	#send(
		method: string,
		path: string,
		body?: string,
	): Promise<{ body: string; headers: Record<string, string | string[] | undefined> }> {
		return new Promise((resolve, reject) => {
			const options = { method, agent: this.#agent, timeout: ANSWER };
			const asked = request(this.#url + path, options, (response) => {
				const chunks: Buffer[] = [];
				response.on("data", (chunk: Buffer) => chunks.push(chunk));
				response.on("error", reject);
				response.on("end", () => {
					const text = Buffer.concat(chunks).toString();
					const status = response.statusCode ?? 0;
					if (status < 400) resolve({ body: text, headers: response.headers });
					else failure(new Response(text, { status })).then(reject, reject);
				});
			});
			asked.on("timeout", () =>
				asked.destroy(new Error(`no answer to ${method} ${path} within ${ANSWER / 1000} s`)),
			);
			asked.on("error", reject);
			if (body === undefined) {
				asked.end();
				return;
			}
			asked.setHeader("content-type", "application/json");
			asked.setHeader("content-length", Buffer.byteLength(body));
			asked.once("socket", () => {
				asked.setHeader("x-headstart-sent", String(process.hrtime.bigint()));
				asked.end(body);
			});
		});
	}
}
