import type { Env } from "../shared/env.ts";
import { handOver, type Invocation, pool } from "./node.ts";
import type { Transcript } from "./transcript.ts";

/** The object of that name. */
export function transcript(env: Env, name: string): DurableObjectStub<Transcript> {
	return env.TRANSCRIPT.get(env.TRANSCRIPT.idFromString(name));
}

/** Sends an invocation to an object. `request` is its caller's; its body is sent along unless the event is in `it`. */
export function invoke(env: Env, name: string, it: Invocation, request: Request): Promise<Response> {
	const ticket = handOver.put(it);
	const { signal } = request;
	const init: RequestInit =
		it.event === undefined ? { method: "POST", body: request.body, signal } : { signal };
	return transcript(env, name)
		.fetch(`http://transcript/${ticket}`, init)
		.finally(() => handOver.take(ticket));
}

/** An object for a cold start of one of a tenant's functions: a spare one, or what there is. */
export function takeSpare(env: Env, tenant: string): string {
	return pool.takeSpare(tenant) ?? pool.takeIdle() ?? env.TRANSCRIPT.newUniqueId().toString();
}

/** Makes as many spares as a tenant is short of. Rejects when the bridge cannot be reached. */
export async function refill(env: Env, tenant: string): Promise<void> {
	const made: Promise<void>[] = [];
	for (let missing = pool.missing(tenant); missing > 0; missing--)
		made.push(pool.making(tenant, makeSpare(env, tenant)));
	await Promise.all(made);
	for (;;) {
		const surplus = pool.takeSurplus();
		if (surplus === undefined) return;
		await transcript(env, surplus).stop("another tenant needs its place");
	}
}

/** Ends the idle instances of a version of a function; busy ones end with their invocation. */
export async function retire(env: Env, digest: string, reason: string): Promise<void> {
	const idle = pool.warmOf(digest).filter((name) => pool.removeWarm(digest, name));
	await Promise.all(idle.map((name) => transcript(env, name).stop(reason)));
}

async function makeSpare(env: Env, tenant: string): Promise<void> {
	const name = pool.takeIdle() ?? env.TRANSCRIPT.newUniqueId().toString();
	try {
		await transcript(env, name).prepare(tenant);
		pool.addSpare(tenant, name);
	} catch (error) {
		pool.addIdle(name);
		throw error;
	}
}
