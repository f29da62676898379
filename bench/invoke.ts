import { setTimeout as sleep } from "node:timers/promises";
import { failure } from "../src/cli/client.ts";
import type { InstanceRecord, ScriptRun, TraceEvent } from "../src/shared/record.ts";
import { type Answer, Connection } from "./connection.ts";

/** How a start is to run: query parameters of an invocation. */
export interface How {
	/** The app without headstart: its own client, no initscript. */
	direct?: boolean;
	/** The app in its sandbox, without the initscript. */
	noInitscript?: boolean;
	/** The initscript without the app. */
	scriptOnly?: boolean;
	/** Without the function's image and initscript on the node: they are dropped before the start. */
	dropped?: boolean;
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
	readonly #connection: Connection;

	constructor(url: string) {
		this.#connection = new Connection(url, ANSWER);
	}

	/** Starts a function in a fresh instance, waits until that is over and reaped, and returns what was stamped. */
	async start(name: string, event: unknown, how: How = {}): Promise<Start> {
		const query = new URLSearchParams({ cold: how.dropped ? "image" : "1" });
		if (how.direct) query.set("mode", "direct");
		if (how.noInitscript) query.set("mode", "noInitscript");
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
		const instance = headers.get("x-headstart-instance");
		if (instance === undefined) throw new Error("the node's answer has no x-headstart-instance");
		const { events } = await this.#ended(instance);
		return { instance, answer, events };
	}

	close(): void {
		this.#connection.close();
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

	async #send(method: string, path: string, body?: string): Promise<Answer> {
		const answer = await this.#connection.send(method, path, body);
		if (answer.status >= 400) throw await failure(new Response(answer.body, { status: answer.status }));
		return answer;
	}
}
