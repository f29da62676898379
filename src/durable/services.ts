import { DurableObject } from "cloudflare:workers";
import { bridgeServices, endService } from "../bridge/services.ts";
import type { Env } from "../shared/env.ts";
import { type ErrorValue, HeadstartError } from "../shared/error.ts";
import type { DeployedFunction } from "../shared/function.ts";
import {
	type Answer,
	isOver,
	newServiceId,
	type ServiceInstance,
	type Serving,
	type ServingEnd,
} from "../shared/service.ts";
import { DEFAULT_SERVICES } from "../shared/tenant.ts";
import { functions, serviceStarts, tenants } from "./node.ts";
import { afterEnd } from "./service/policy.ts";
import { type KeptService, ServiceTable } from "./service/table.ts";
import { refill, takeSpare, transcript } from "./spares.ts";

/** How often it is tried to start an instance while the bridge is away, milliseconds. */
const AWAY_MS = 500;
/** How long an application may take to end whose manifest is not known any more, milliseconds. */
const GRACE_MS = 60_000;

/** Where a service's present instance is. */
interface Present {
	/** The Transcript object. */
	object: string;
	/** An end that was told before the start was known to have gone well. */
	end?: ServingEnd;
	/** The service was stopped, perhaps before the object had an instance. */
	stopped: boolean;
}

/**
 * The node's services: which there are, on the disk, and what follows the end of an instance (docs/services.md). Instances run
 * in Transcript objects, as those of functions do; the bridge has the addresses.
 */
export class Services extends DurableObject<Env> {
	readonly #table: ServiceTable;
	readonly #present = new Map<string, Present>();
	/** Restarts that are waited for. */
	readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
	#resumed = false;

	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		this.#table = new ServiceTable(ctx.storage.sql);
	}

	/** Starts a service of a function that the caller has looked up. Answers when it is ready; at once without `wait`. */
	async start(
		tenant: string,
		name: string,
		input: Uint8Array,
		{ wait, withoutCaches }: { wait: boolean; withoutCaches: boolean },
	): Promise<Answer<ServiceInstance>> {
		const most = tenants.get(tenant).quota.services ?? DEFAULT_SERVICES;
		const running = this.#table.live(tenant);
		if (running >= most) {
			const message = `${running} services run, and the tenant's quota of services is ${most}`;
			return { error: { code: "quotaExceeded", message } };
		}
		const it: KeptService = {
			id: newServiceId(),
			tenant,
			service: name,
			state: "starting",
			restarts: 0,
			row: 0,
			startedAt: Date.now(),
		};
		this.#table.add(it, input);
		const started = this.#begin(it, withoutCaches);
		if (!wait) {
			this.ctx.waitUntil(started);
			return { ok: told(it) };
		}
		await started;
		const { error, ...now } = this.#get(it.id) ?? it;
		return now.state === "failed" && error !== undefined ? { error } : { ok: told(now) };
	}

	/** A tenant's, of one name or of all, the newest first. */
	list(tenant: string, name?: string): ServiceInstance[] {
		return this.#table.list(tenant, name).map(told);
	}

	get(tenant: string, id: string): ServiceInstance | undefined {
		const it = this.#get(id);
		return it?.tenant === tenant ? told(it) : undefined;
	}

	/** Ends a service; answers when all of it is reaped. One that has ended is as it was. */
	async stop(tenant: string, id: string): Promise<ServiceInstance | undefined> {
		const it = this.#get(id);
		if (it === undefined || it.tenant !== tenant) return undefined;
		if (!isOver(it.state)) await this.#stop(it);
		return this.get(tenant, id);
	}

	/** Ends a tenant's services, of one name or all. */
	async stopAll(tenant: string, name?: string): Promise<void> {
		const live = this.#table.list(tenant, name).filter(({ state }) => !isOver(state));
		await Promise.all(live.map((it) => this.#stop(it)));
	}

	/** Forgets a tenant that was removed. */
	drop(tenant: string): void {
		for (const { id } of this.#table.list(tenant)) this.#forget(id);
		this.#table.drop(tenant);
	}

	/** An instance of a service has ended. */
	ended(id: string, end: ServingEnd): void {
		const it = this.#get(id);
		if (it?.state === "ready" && it.instance === end.instance) {
			this.#next(it, end.error);
			return;
		}
		const present = this.#present.get(id);
		if (present !== undefined) present.end = end;
	}

	/**
	 * Once in a host's life: takes over what the one before has left. Instances that the bridge has kept go on; the others are
	 * started again, if their services' policy says so.
	 */
	async resume(): Promise<void> {
		if (this.#resumed) return;
		this.#resumed = true;
		const live = this.#table.list();
		const known = new Set(live.map(({ id }) => id));
		for (const it of live) {
			if (it.state === "ready") this.ctx.waitUntil(this.#takeOver(it));
			else if (it.state === "restarting") this.ctx.waitUntil(this.#restart(it.id));
			else this.ctx.waitUntil(this.#giveUp(it));
		}
		const left = (await bridgeServices(this.env.BRIDGE)).filter((id) => !known.has(id));
		await Promise.allSettled(left.map((id) => endService(this.env.BRIDGE, id, 0)));
	}

	/** The first start: what is wrong is told, and not tried again. */
	async #begin(it: KeptService, withoutCaches: boolean): Promise<void> {
		const answer = await this.#launch(it, withoutCaches);
		const now = this.#get(it.id);
		if (now?.state !== "starting") return this.#abandon(it.id);
		if ("ok" in answer) this.#ready(now, answer.ok);
		else this.#end(now, "failed", answer.error);
	}

	/** Has an object start an instance. */
	async #launch(it: KeptService, withoutCaches = false): Promise<Answer<Serving>> {
		const present: Present = { object: takeSpare(this.env, it.tenant), stopped: false };
		this.#present.set(it.id, present);
		try {
			const deployed = await this.#deployed(it);
			const input = new Uint8Array(this.#table.input(it.id));
			const { id, address } = it;
			const isStopped = (): boolean => present.stopped;
			const ticket = serviceStarts.put({
				...{ id, deployed, input, isStopped, withoutCaches },
				...(address && { address }),
			});
			const answer = await (transcript(this.env, present.object).serve(ticket) as Promise<Answer<Serving>>);
			this.ctx.waitUntil(refill(this.env, it.tenant).catch(() => undefined));
			return answer;
		} catch (thrown) {
			return { error: HeadstartError.from(thrown).value() };
		}
	}

	/** What the bridge has of a service that was stopped while its instance was started. */
	async #abandon(id: string): Promise<void> {
		await endService(this.env.BRIDGE, id, 0).catch((thrown: unknown) => {
			if (!isAway(HeadstartError.from(thrown).value()))
				console.error("a service that was stopped does not end", thrown);
		});
	}

	#ready(it: KeptService, { instance, address, readyMs }: Serving): void {
		const { error: _, ...rest } = it;
		const ready: KeptService = {
			...rest,
			state: "ready",
			instance,
			readyAt: Date.now(),
			ready_ms: readyMs,
			...(address === undefined ? {} : { address }),
		};
		this.#table.put(ready);
		const end = this.#present.get(it.id)?.end;
		if (end?.instance === instance) this.#next(ready, end.error);
	}

	/** What its policy says of the end of an instance. */
	#next(it: KeptService, error: ErrorValue | undefined): void {
		this.#present.delete(it.id);
		const { service } = functions.named(it.tenant, it.service)?.manifest ?? {};
		const readyMs = it.readyAt === undefined ? 0 : Date.now() - it.readyAt;
		if (error !== undefined && isAway(error) && service !== undefined && service.restart !== "never") {
			// Not its fault: it is started again as soon as that can be, by the next host if need be.
			this.#restarting(it, it.row, error);
			this.#later(it.id, AWAY_MS);
			return;
		}
		const life = { row: it.row, readyMs, ...(error && { error }) };
		const next = service === undefined ? undefined : afterEnd(service, life);
		if (next?.next !== "restart") {
			this.#end(it, next?.state ?? "failed", next === undefined ? error : next.error);
			return;
		}
		this.#restarting(it, next.row, error);
		this.#later(it.id, next.waitMs);
	}

	#restarting({ readyAt: _, error: __, ...it }: KeptService, row: number, error?: ErrorValue): void {
		const { restarts } = it;
		this.#table.put({ ...it, state: "restarting", row, restarts: restarts + 1, ...(error && { error }) });
	}

	#later(id: string, ms: number): void {
		this.#timers.set(
			id,
			setTimeout(() => this.ctx.waitUntil(this.#restart(id)), ms),
		);
	}

	async #restart(id: string): Promise<void> {
		this.#timers.delete(id);
		const it = this.#get(id);
		if (it?.state !== "restarting") return;
		const answer = await this.#launch(it);
		const now = this.#get(id);
		if (now?.state !== "restarting") return this.#abandon(id);
		if ("ok" in answer) this.#ready(now, answer.ok);
		else if (isAway(answer.error)) this.#later(id, AWAY_MS);
		else this.#next(now, answer.error);
	}

	/** Of a service that was ready in the host's last life. */
	async #takeOver(it: KeptService): Promise<void> {
		const present: Present = { object: this.env.TRANSCRIPT.newUniqueId().toString(), stopped: false };
		this.#present.set(it.id, present);
		try {
			const deployed = await this.#deployed(it);
			const isStopped = (): boolean => present.stopped;
			const ticket = serviceStarts.put({ id: it.id, deployed, input: new Uint8Array(0), isStopped });
			const { instance = "", startedAt, readyAt = startedAt } = it;
			const kept = await transcript(this.env, present.object).adopt(ticket, instance, readyAt);
			if (kept) return;
		} catch (thrown) {
			console.error("an instance of a service cannot be taken over", thrown);
		}
		if (this.#get(it.id)?.state !== "ready") return;
		this.#next(it, { code: "interrupted", message: "the node ended while it served" });
	}

	/** Of a service that nobody waits for any more. */
	async #giveUp(it: KeptService): Promise<void> {
		await endService(this.env.BRIDGE, it.id, 0).catch(() => undefined);
		if (it.state === "stopping") this.#end(it, "stopped");
		else this.#end(it, "failed", { code: "interrupted", message: "the node ended while it started" });
	}

	async #stop(it: KeptService): Promise<void> {
		clearTimeout(this.#timers.get(it.id) ?? null);
		this.#timers.delete(it.id);
		this.#table.put({ ...it, state: "stopping" });
		const present = this.#present.get(it.id);
		if (present !== undefined) present.stopped = true;
		const graceMs = functions.named(it.tenant, it.service)?.manifest.service?.stop_grace ?? GRACE_MS;
		try {
			if (it.state !== "ready" && present !== undefined)
				await transcript(this.env, present.object).stop("its service was stopped");
			await endService(this.env.BRIDGE, it.id, graceMs);
		} catch (thrown) {
			// With the bridge all instances are gone.
			if (!isAway(HeadstartError.from(thrown).value())) console.error("a service does not end", thrown);
		}
		const now = this.#get(it.id);
		if (now?.state === "stopping") this.#end(now, "stopped");
	}

	#end(it: KeptService, state: "stopped" | "failed", error?: ErrorValue): void {
		this.#forget(it.id);
		const { error: _, ...rest } = it;
		this.#table.put({ ...rest, state, endedAt: Date.now(), ...(error && { error }) });
		// Its listener; mostly there is nothing else any more.
		this.ctx.waitUntil(endService(this.env.BRIDGE, it.id, 0).catch(() => undefined));
	}

	#forget(id: string): void {
		clearTimeout(this.#timers.get(id) ?? null);
		this.#timers.delete(id);
		const present = this.#present.get(id);
		if (present !== undefined) present.stopped = true;
		this.#present.delete(id);
	}

	#get(id: string): KeptService | undefined {
		return this.#table.get(id);
	}

	/** The version that is deployed now. */
	async #deployed({ tenant, service }: KeptService): Promise<DeployedFunction> {
		const known = functions.named(tenant, service);
		if (known !== undefined) return known;
		const registry = this.env.REGISTRY.getByName("registry");
		const found = (await registry.get(tenant, service)) as DeployedFunction | undefined;
		if (found === undefined) throw new HeadstartError("unknownService", `no service is named ${service}`);
		functions.put(found);
		return found;
	}
}

/** Whether it may work again soon. */
function isAway({ code }: ErrorValue): boolean {
	return code === "bridgeLost" || code === "nodeDraining";
}

function told({ tenant: _, row: __, readyAt: ___, ...it }: KeptService): ServiceInstance {
	return it;
}
