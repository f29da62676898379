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

/** An object for a cold start: a spare one, or what there is. */
export function takeSpare(env: Env): string {
	return pool.takeSpare() ?? pool.takeIdle() ?? env.TRANSCRIPT.newUniqueId().toString();
}

/** Makes as many spares as are missing. Rejects when the bridge cannot be reached. */
export async function refill(env: Env): Promise<void> {
	const made: Promise<void>[] = [];
	for (let missing = pool.missing; missing > 0; missing--) made.push(pool.making(makeSpare(env)));
	await Promise.all(made);
}

async function makeSpare(env: Env): Promise<void> {
	const name = pool.takeIdle() ?? env.TRANSCRIPT.newUniqueId().toString();
	try {
		await transcript(env, name).prepare();
		pool.addSpare(name);
	} catch (error) {
		pool.addIdle(name);
		throw error;
	}
}
