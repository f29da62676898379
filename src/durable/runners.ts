/**
 * The runner of a tenant, wherever it is: behind one of the host's bindings, which is the tenant's from its first use until
 * another tenant needs it. What knows a tenant's runner calls this one; nobody keeps a binding.
 */
import type { Bridge } from "../bridge/bridge.ts";
import { putTenant } from "../bridge/tenants.ts";
import type { RunnerService, RunnerSession, ScriptModule } from "../isolates/protocol.ts";
import type { Env, Runner, RunnerName } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import { tenants } from "./node.ts";
import { type Slot, Slots } from "./slots.ts";
import type { ScriptHost } from "./transcript/host-api.ts";
import { forgetTurns } from "./transcript/turns.ts";

/** What the bridge's relay answers for a slot that is nobody's. */
const GONE = 410;

let slots: Slots | undefined;

function allSlots(env: Env): Slots {
	slots ??= new Slots(slotCount(env));
	return slots;
}

/** How many runners there may be: as many as there are bindings. */
function slotCount(env: Env): number {
	let count = 0;
	while (runnerName(count) in env) count += 1;
	return count;
}

function runnerName(slot: number): RunnerName {
	return `RUNNER_${slot}`;
}

/** Learns whose the slots are, once in a host's life: the runners of these tenants have outlived the last host. */
export async function adoptRunners(env: Env, bridge: Bridge): Promise<string[]> {
	const assigned = await bridge.runners();
	for (const { slot, tenant } of assigned) allSlots(env).adopt(slot, tenant);
	return assigned.map(({ tenant }) => tenant);
}

/** Forgets a tenant that was removed; the bridge ends its runner. */
export function dropRunner(env: Env, tenant: string): void {
	allSlots(env).drop(tenant);
	forgetTurns(tenant);
}

/** All methods throw `tooMany` at once when there is no slot for the tenant now. */
export class TenantRunner implements Omit<RunnerService, "open"> {
	readonly #env: Env;
	readonly #tenant: string;
	readonly #bridge: () => Promise<Bridge>;
	#session: RunnerSession | undefined;

	/** @param session for the first run, from {@link session}. */
	constructor(env: Env, tenant: string, bridge: () => Promise<Bridge>, session?: RunnerSession) {
		this.#env = env;
		this.#tenant = tenant;
		this.#bridge = bridge;
		this.#session = session;
	}

	/** Sees to it that the tenant has a runner, also where the bridge was restarted since. */
	async claim(): Promise<void> {
		const slot = this.#slot;
		await slot.during(() => this.#assign(slot));
	}

	/** The call leaves before this returns, if the tenant has a runner. */
	run(spec: Parameters<RunnerService["run"]>[0], host: ScriptHost): ReturnType<RunnerService["run"]> {
		const anew = (): ReturnType<RunnerService["run"]> => this.#use((runner) => runner.run(spec, host));
		const session = this.#session;
		this.#session = undefined;
		if (session === undefined) return anew();
		return this.#slot
			.during(() => session.run(spec, host))
			.catch((thrown: unknown) => {
				// What was handed to the session's runner is not in another.
				if (host.used || spec.awaited) throw thrown;
				// Most likely the session's runner died while nobody used it. The script has asked for nothing yet.
				return anew();
			});
	}

	/** A session that waits for a script; undefined where the tenant has no runner now. Who has it disposes of it. */
	async session(): Promise<RunnerSession | undefined> {
		const slot = allSlots(this.#env).known(this.#tenant);
		const runner = slot?.assigned ? this.#env[runnerName(slot.number)] : undefined;
		return slot && runner && slot.during(() => runner.open());
	}

	load(module: ScriptModule, memoryBytes?: number): ReturnType<RunnerService["load"]> {
		return this.#use((runner) => runner.load(module, memoryBytes));
	}

	unload(digest: string): Promise<void> {
		return this.#use((runner) => runner.unload(digest));
	}

	/** Whether the runner answers now. */
	async answers(): Promise<boolean> {
		const slot = this.#slot;
		const answer = await this.#use((runner) => runner.fetch("http://runner/ping"));
		await answer.body?.cancel();
		if (answer.status === GONE) slot.assigned = false;
		return answer.ok;
	}

	get #slot(): Slot {
		return allSlots(this.#env).of(this.#tenant, forgetTurns);
	}

	#use<T>(call: (runner: Runner) => Promise<T>): Promise<T> {
		const slot = this.#slot;
		const runner = this.#env[runnerName(slot.number)];
		if (runner === undefined)
			throw new HeadstartError("internal", `there is no binding of slot ${slot.number}`);
		if (slot.assigned) return slot.during(() => call(runner));
		return slot.during(async () => {
			await this.#assign(slot);
			return call(runner);
		});
	}

	async #assign(slot: Slot): Promise<void> {
		const bridge = await this.#bridge();
		try {
			await bridge.assignRunner(slot.number, this.#tenant);
		} catch (thrown) {
			if (!(thrown instanceof HeadstartError) || thrown.code !== "unknownTenant") throw thrown;
			// A bridge that was restarted has forgotten its tenants.
			await putTenant(this.#env.BRIDGE, tenants.get(this.#tenant));
			await bridge.assignRunner(slot.number, this.#tenant);
		}
		slot.assigned = true;
	}
}
