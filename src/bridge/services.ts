/** Services at the bridge: plain HTTP on its socket (docs/services.md). */
import { HeadstartError } from "../shared/error.ts";
import { fnv1a64 } from "../shared/id.ts";
import type { ServiceSpec } from "../shared/service.ts";
import { bridgeError } from "./http-error.ts";

/** How much longer than its own time a request may take. */
const MARGIN_MS = 60_000;

export interface WantedService {
	tenant: string;
	/** The bridge's instance that is to serve. */
	instance: string;
	service: ServiceSpec;
	/** The address that the service had before. */
	address?: string;
}

/** Linux numbers of the signals that a manifest may name. */
const SIGNALS = {
	SIGHUP: 1,
	SIGINT: 2,
	SIGQUIT: 3,
	SIGKILL: 9,
	SIGUSR1: 10,
	SIGUSR2: 12,
	SIGTERM: 15,
} as const;

/**
 * Leads a service's address to an instance once its application is ready. `readyMs`: from the instance's start. Throws
 * `notReady`, and `instanceClosed` when it ends before.
 */
export async function serveInstance(
	bridge: Fetcher,
	id: string,
	{ tenant, instance, service, address }: WantedService,
): Promise<{ address?: string; readyMs: number }> {
	const { port, ready_timeout, stop_signal, stop_grace } = service;
	const ready = readyRule(service);
	const before = Number(address?.split(":")[1]);
	const body = {
		tenant,
		instance,
		ready_timeout_ms: ready_timeout,
		stop_signal: SIGNALS[stop_signal],
		stop_grace_ms: stop_grace,
		...(port === undefined ? {} : { port }),
		...(before > 0 ? { listen: before } : {}),
		...(ready === undefined ? {} : { ready }),
	};
	const answer = await ask(bridge, `/services/${id}`, ready_timeout, {
		method: "PUT",
		body: JSON.stringify(body),
	});
	const served = (await answer.json()) as { address: string | null; readyMs: number };
	return { readyMs: served.readyMs, ...(served.address === null ? {} : { address: served.address }) };
}

/** Ends a service: its listener, and its application by its signal and, after its grace, by force. What is not there is ended. */
export async function endService(bridge: Fetcher, id: string, graceMs: number): Promise<void> {
	try {
		await ask(bridge, `/services/${id}`, graceMs, { method: "DELETE" });
	} catch (thrown) {
		if (!(thrown instanceof HeadstartError) || thrown.code !== "unknownService") throw thrown;
	}
}

/** The ids of those that the bridge has. */
export async function bridgeServices(bridge: Fetcher): Promise<string[]> {
	const answer = await ask(bridge, "/services", 0);
	const { services } = (await answer.json()) as { services: { service: string }[] };
	return services.map(({ service }) => service);
}

/** The rule of the manifest; where it has none, the port that is exposed. Ids of messages are hashed as everywhere. */
function readyRule({ ready, port }: ServiceSpec): unknown {
	if (ready === undefined) return port === undefined ? undefined : { port };
	if (ready.message !== undefined) return { message: String(fnv1a64(ready.message)) };
	return ready.file === undefined ? { port: ready.port } : { file: ready.file };
}

async function ask(bridge: Fetcher, path: string, ms: number, init: RequestInit = {}): Promise<Response> {
	let answer: Response;
	try {
		answer = await bridge.fetch(`http://bridge${path}`, {
			...init,
			signal: AbortSignal.timeout(ms + MARGIN_MS),
		});
	} catch (error) {
		const { message } = HeadstartError.from(error);
		throw new HeadstartError("bridgeLost", `the bridge does not answer: ${message}`);
	}
	if (!answer.ok) throw await bridgeError(answer);
	return answer;
}
