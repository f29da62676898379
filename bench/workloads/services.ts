/** Workloads that are services: programs in images, started by hand over HTTP, and stopped once they serve. */
import { setTimeout as sleep } from "node:timers/promises";
import { failure } from "../../src/cli/client.ts";
import type { InstanceRecord, InstanceSummary, TraceEvent } from "../../src/shared/record.ts";
import { isOver, type ServiceInstance } from "../../src/shared/service.ts";
import { Connection } from "../connection.ts";
import { type Part, waterfall } from "../evaluation/waterfall.ts";
import { first } from "../timeline.ts";
import type { Sample } from "./workload.ts";

/** Longest times to wait, ms: for an answer, and for what is stamped on the timeline. */
const ANSWER = 60_000;
const STAMPED = 30_000;

/** A service's start, with what was stamped of it. */
export interface ServiceStart {
	/** The caller's request, or the bridge's `started` of one that had to pull; ns of the timeline's clock. */
	zero: number;
	events: TraceEvent[];
	/** Where it can be asked; undefined where it was over before it was ready. */
	address: string | undefined;
}

/** How a service is started. */
export interface ServiceHow {
	/** With the image and the initscript that the node has; else it has to pull them. */
	present?: boolean;
	/** Asks it for something, once it is ready. */
	use?: (address: string) => Promise<void>;
}

/** Starts services of one node. */
export class Services {
	readonly #connection: Connection;

	constructor(url: string) {
		this.#connection = new Connection(url, ANSWER);
	}

	/**
	 * Starts a service with this input, waits for a mark on its timeline, lets `use` ask it, and stops it. `until`: how the mark's line
	 * begins. Throws where the service ends before.
	 */
	async start(
		name: string,
		input: unknown,
		until: string,
		{ present = false, use = async () => undefined }: ServiceHow = {},
	): Promise<ServiceStart> {
		const path = `/v1/services/${name}/instances`;
		const query = present ? "?wait=0" : "?wait=0&cold=image";
		const body = JSON.stringify(input);
		const asked = Number(process.hrtime.bigint());
		const { id } = (await this.#ask("POST", path + query, body)) as ServiceInstance;
		try {
			const events = await this.#stamped(name, `${path}/${id}`, until);
			const address = await this.#ready(`${path}/${id}`);
			if (address !== undefined) await use(address);
			// What is dropped before it is no part of a start.
			return { zero: present ? asked : first(events, "started").at, events, address };
		} finally {
			await this.#ask("DELETE", `${path}/${id}`).catch(() => undefined); // over by itself
		}
	}

	close(): void {
		this.#connection.close();
	}

	/** Its timeline, as soon as the mark is on it. */
	async #stamped(name: string, path: string, until: string): Promise<TraceEvent[]> {
		for (const end = Date.now() + STAMPED; ; await sleep(20)) {
			const { state, instance, error } = (await this.#ask("GET", path)) as ServiceInstance;
			const known = instance ?? (isOver(state) ? await this.#last(name) : undefined);
			if (known !== undefined) {
				const { events } = (await this.#ask("GET", `/v1/instances/${known}`)) as InstanceRecord;
				if (events.some((event) => isMark(event, until))) return events;
			}
			if (isOver(state)) throw new Error(`the service ended: ${error?.message ?? state}`);
			if (Date.now() > end) throw new Error(`no "${until}" on its timeline within ${STAMPED / 1000} s`);
		}
	}

	/** The newest instance of a service: one that failed at its first start does not say which it was. */
	async #last(name: string): Promise<string | undefined> {
		const { instances } = (await this.#ask("GET", "/v1/instances?limit=10")) as {
			instances: InstanceSummary[];
		};
		return instances.find((instance) => instance.function === name)?.id;
	}

	async #ready(path: string): Promise<string | undefined> {
		for (const end = Date.now() + STAMPED; ; await sleep(20)) {
			const { state, address } = (await this.#ask("GET", path)) as ServiceInstance;
			if (state === "ready") return address;
			if (isOver(state) || state === "restarting") return undefined;
			if (Date.now() > end) throw new Error(`it was not ready within ${STAMPED / 1000} s`);
		}
	}

	async #ask(method: string, path: string, body?: string): Promise<unknown> {
		const answer = await this.#connection.send(method, path, body);
		if (answer.status >= 400) throw await failure(new Response(answer.body, { status: answer.status }));
		return JSON.parse(answer.body);
	}
}

function isMark({ kind, text }: TraceEvent, begins: string): boolean {
	return kind === "mark" && text?.startsWith(begins) === true;
}

/** The sample of a start that is over with the mark, with its waterfall. */
export function sampleOf(
	{ zero, events }: Pick<ServiceStart, "zero" | "events">,
	until: string,
	parts: readonly Part[] = [],
): Sample {
	const mark = events.find((event) => isMark(event, until));
	if (mark === undefined) throw new Error(`no "${until}" on its timeline`);
	return { ms: (mark.at - zero) / 1e6, segments: waterfall(events, zero, mark.at, parts) };
}
