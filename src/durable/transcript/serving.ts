/** An instance that serves: until it is ready, and how it has ended. */
import { serveInstance } from "../../bridge/services.ts";
import type { Env } from "../../shared/env.ts";
import { type ErrorValue, HeadstartError } from "../../shared/error.ts";
import type { TraceEvent } from "../../shared/record.ts";
import type { Serving } from "../../shared/service.ts";
import type { ServiceStart } from "../node.ts";
import type { Run } from "./run.ts";

/** How many of its last lines are told of an application that does not become ready. */
const LAST_LINES = 10;
/** How long an instance that ends may take to tell why. */
const REASON_MS = 5000;

/** Waits until the instance is ready. Throws what kept it from that: `notReady`, `appExited`, …, with its last lines. */
export async function becomeReady(
	env: Env,
	run: Run,
	{ id, deployed, address }: ServiceStart,
): Promise<Serving> {
	const { service } = deployed.manifest;
	if (service === undefined) throw new HeadstartError("internal", "an instance of no service");
	try {
		const served = await serveInstance(env.BRIDGE, id, {
			tenant: deployed.tenant,
			instance: run.id,
			service,
			...(address === undefined ? {} : { address }),
		});
		return { instance: run.id, ...served };
	} catch (thrown) {
		const error = HeadstartError.from(thrown);
		if (error.code === "instanceClosed") await Promise.race([run.gone, scheduler.wait(REASON_MS)]);
		const { code, message } = reason(run) ?? error;
		const lines = lastLines(run.record.events);
		const told = lines.length === 0 ? "" : `; its last lines:\n${lines.join("\n")}`;
		throw new HeadstartError(code, `${message}${told}`);
	}
}

/** What the bridge notes before it ends services with itself. */
const SHUTTING_DOWN = "stopping: the node is shutting down";

/** Why the instance has ended; undefined when the application ended by itself, with status 0, or has not. */
export function reason({ failure, record }: Run): ErrorValue | undefined {
	if (record.events.some(({ kind, text }) => kind === "noted" && text === SHUTTING_DOWN))
		return { code: "nodeDraining", message: "the node was shut down" };
	return failure ?? record.events.findLast(({ kind }) => kind === "sandboxExited")?.error;
}

function lastLines(events: readonly TraceEvent[]): string[] {
	return events
		.filter(({ kind }) => kind === "log" || kind === "mark")
		.slice(-LAST_LINES)
		.map(({ text }) => text ?? "");
}
