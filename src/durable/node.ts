/**
 * What the host's requests and its Transcript objects share: they run in one isolate. Only names and plain data live here;
 * nothing that belongs to a request or an object.
 */
import type { InstanceMode } from "../bridge/bridge.ts";
import type { DeployedFunction } from "../shared/function.ts";
import { Functions } from "./functions.ts";
import { Pool } from "./pool.ts";
import { Tenants } from "./tenants.ts";

let boot: string | undefined;

/** Names this life of the host. Made when it is first asked for: workerd has no random numbers before that. */
export function bootId(): string {
	boot ??= crypto.randomUUID();
	return boot;
}

/** An invocation on its way from its request to its object. */
export interface Invocation {
	deployed: DeployedFunction;
	mode: InstanceMode;
	/** Whether its instance ends with its answer. */
	cold: boolean;
	/** Whether its image and its initscript were dropped, to be downloaded by it. */
	withoutCaches: boolean;
	/** CLOCK_MONOTONIC ns when the request left its caller, or 0. */
	sentAt: bigint;
	/** Of the event. */
	contentType: string | undefined;
	/** The event, when it is small; else it is the body of the request to the object. */
	event: Uint8Array<ArrayBuffer> | undefined;
}

/** A service's instance on its way to its object. */
export interface ServiceStart {
	/** The service's id. */
	id: string;
	deployed: DeployedFunction;
	/** Of its initscript. */
	input: Uint8Array<ArrayBuffer>;
	/** The address that the service had before. */
	address?: string;
	/** The initscript is downloaded, whoever has it. */
	withoutCaches?: boolean;
	/** Whether the service was stopped meanwhile: then nobody waits for the instance. */
	isStopped: () => boolean;
}

/** What is on its way to an object: so the request to it needs no headers and mostly no body, which takes time. */
export class HandOver<T> {
	readonly #waiting = new Map<string, T>();
	#last = 0;

	/** Its name, to be given to the object. */
	put(it: T): string {
		const ticket = String(++this.#last);
		this.#waiting.set(ticket, it);
		return ticket;
	}

	take(ticket: string): T | undefined {
		const it = this.#waiting.get(ticket);
		this.#waiting.delete(ticket);
		return it;
	}
}

export const handOver = new HandOver<Invocation>();
export const serviceStarts = new HandOver<ServiceStart>();
export const functions = new Functions();
export const pool = new Pool();
export const tenants = new Tenants();
