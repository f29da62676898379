/** Services: long-running programs, as the HTTP API and the parts of the host tell each other of them. */
import type { ErrorValue } from "./error.ts";
import type { Manifest } from "./manifest.ts";

/** The section [service] of a headstart.toml. */
export type ServiceSpec = NonNullable<Manifest["service"]>;

/** `restarting`: its instance has ended and the next one is on its way. `failed`: it was given up. */
export type ServiceState = "starting" | "ready" | "restarting" | "stopping" | "stopped" | "failed";

/** `GET /v1/services/:name/instances/:id`. */
export interface ServiceInstance {
	/** "s-" and 20 characters: the same for as long as it runs, through all its restarts. */
	id: string;
	service: string;
	state: ServiceState;
	/** "127.0.0.1:port", where the service exposes one. It outlives restarts. */
	address?: string;
	/** From its present instance's start to its readiness, milliseconds. */
	ready_ms?: number;
	/** The instance that serves, or served last: `GET /v1/instances/:id` has its record. */
	instance?: string;
	/** How often it was started again. */
	restarts: number;
	/** Unix milliseconds. */
	startedAt: number;
	endedAt?: number;
	/** How its last instance failed. */
	error?: ErrorValue;
}

/** `GET /v1/services`. */
export interface ServiceSummary {
	name: string;
	digest: string;
	deployedAt: number;
	service: ServiceSpec;
	/** Those that have not ended. */
	instances: ServiceInstance[];
}

/** What one object answers another: an error that is expected is a value. */
export type Answer<T> = { ok: T } | { error: ErrorValue };

/** A service's instance that is ready. */
export interface Serving {
	instance: string;
	address?: string;
	readyMs: number;
}

/** How an instance of a service has ended; no error: by itself and with status 0. */
export interface ServingEnd {
	instance: string;
	error?: ErrorValue;
}

/** Whether it has ended for good. */
export function isOver(state: ServiceState): boolean {
	return state === "stopped" || state === "failed";
}

/** "s-" and 20 base32 characters. */
export function newServiceId(): string {
	const digits = "abcdefghijklmnopqrstuvwxyz234567";
	const random = crypto.getRandomValues(new Uint8Array(20));
	return `s-${Array.from(random, (byte) => digits.charAt(byte % 32)).join("")}`;
}
