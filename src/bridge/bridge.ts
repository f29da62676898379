/**
 * The native bridge as the host sees it: plain objects in, plain objects out, and a HeadstartError for every failure.
 * Bodies never travel here: they go over plain HTTP on the same socket.
 */
import { type ErrorValue, HeadstartError } from "../shared/error.ts";
import {
	type AssignedRunner,
	BridgeClient,
	type Event,
	type Function as FunctionSpec,
	type InstanceClient,
	type InstanceMode,
	type NodeInfo,
	type Op,
	type RunnerStatus,
} from "./generated/bridge.ts";
import { type Call, Connection } from "./rpc/connection.ts";
import type { ByteStream } from "./rpc/transport.ts";

export type { Event, FunctionSpec, InstanceMode, NodeInfo, Op, RunnerStatus };

/** The version of schema/bridge.capnp that this file speaks. */
const PROTOCOL = 1;

/** How long `events` may wait: the bridge's own bound. */
export const MAX_EVENT_WAIT_MS = 60_000;

/** How long the bridge may take for what it does at once; beyond this it is as good as lost. */
const CALL_TIMEOUT_MS = 30_000;

/** One stream to the bridge. Everything made through it lives as long as it does. */
export class Bridge {
	readonly #connection: Connection;
	readonly #root: BridgeClient;

	constructor(stream: ByteStream) {
		this.#connection = new Connection(stream);
		this.#root = new BridgeClient(this.#connection.bootstrap());
	}

	/** Opens a stream through workerd's binding of the bridge's socket. Usable at once: nothing waits for the connect. */
	static connect(binding: Fetcher): Bridge {
		return new Bridge(binding.connect("control:1"));
	}

	/** Resolves when the stream has ended, with the reason. */
	get closed(): Promise<HeadstartError> {
		return this.#connection.closed;
	}

	get alive(): boolean {
		return this.#connection.error === undefined;
	}

	/** Checks that both speak one version; says what the node can do. */
	async hello(): Promise<NodeInfo> {
		return (await checked(this.#root.hello({ protocol: PROTOCOL }))).info;
	}

	/** A new instance, usable at once; `id` rejects when the bridge has none to give. */
	createInstance(tenant: string): Instance {
		const call = this.#root.createInstance({ tenant });
		return new Instance(
			call.instance,
			checked(call).then(({ id }) => id),
		);
	}

	/** Takes an instance of a broken stream over; its events can then be read from the first. */
	async attach(id: string): Promise<Instance> {
		const call = this.#root.attach({ id });
		await checked(call);
		return new Instance(call.instance, Promise.resolve(id));
	}

	async putFunction(spec: FunctionSpec): Promise<void> {
		await checked(this.#root.putFunction({ function: spec }));
	}

	async dropFunction(digest: string): Promise<void> {
		await checked(this.#root.dropFunction({ digest }));
	}

	/** How many capabilities of the bridge this stream holds, for tests. */
	async liveObjects(): Promise<number> {
		return (await within(this.#root.liveObjects())).count;
	}

	/** Of a tenant's runner. */
	async runner(tenant: string): Promise<RunnerStatus> {
		return (await within(this.#root.runner({ tenant }))).status;
	}

	/** Makes a slot a tenant's; whose it was loses its runner. */
	async assignRunner(slot: number, tenant: string): Promise<void> {
		await checked(this.#root.assignRunner({ slot, tenant }));
	}

	/** Whose the slots are. */
	async runners(): Promise<AssignedRunner[]> {
		return (await within(this.#root.runners())).assigned;
	}

	[Symbol.dispose](): void {
		this.#root[Symbol.dispose]();
		this.#connection[Symbol.dispose]();
	}
}

/** One instance at the bridge. Dispose it when it has ended. */
export class Instance {
	/** The bridge's name of it. */
	readonly id: Promise<string>;
	readonly #client: InstanceClient;

	constructor(client: InstanceClient, id: Promise<string>) {
		this.#client = client;
		this.id = id;
		id.catch(() => undefined);
	}

	/** Gives the instance its function. `receivedAt`: CLOCK_MONOTONIC ns when the request left its caller, or 0. */
	async start(functionDigest: string, mode: InstanceMode, receivedAt: bigint): Promise<void> {
		await checked(this.#client.start({ functionDigest, mode, receivedAt }));
	}

	/** Applies ops in order. The message leaves with the others of this turn, before this returns. */
	async submit(ops: Op[]): Promise<void> {
		await checked(this.#client.submit({ ops }));
	}

	/** The events after a sequence number; waits for the first. Cancel the call to stop waiting. */
	events(after: bigint, waitMillis: number): { result: Promise<Event[]>; cancel(): void } {
		const call = this.#client.events({ after, waitMillis });
		const result = checked(call, waitMillis + CALL_TIMEOUT_MS);
		return { result: result.then(({ events }) => events), cancel: () => call.cancel() };
	}

	/** Bytes of a finished reply, at most 1 MiB. */
	async read(rpc: bigint, offset: bigint, length: number): Promise<Uint8Array> {
		return (await checked(this.#client.read({ rpc, offset, length }))).data;
	}

	/** Bytes of a message that the application sent, at most 1 MiB. */
	async readMessage(id: bigint, offset: bigint, length: number): Promise<Uint8Array> {
		return (await checked(this.#client.readMessage({ id, offset, length }))).data;
	}

	/** Ends the application and all RPCs; the event `ended` comes when all is reaped. */
	async stop(reason: string): Promise<void> {
		await checked(this.#client.stop({ reason }));
	}

	/** What the instance holds now, as JSON. */
	async snapshot(): Promise<string> {
		return (await checked(this.#client.snapshot())).json;
	}

	[Symbol.dispose](): void {
		this.#client[Symbol.dispose]();
	}
}

function checked<T extends { error: ErrorValue }>(call: Call<T>, ms = CALL_TIMEOUT_MS): Promise<T> {
	const result = within(call, ms).then((value) => {
		HeadstartError.check(value.error);
		return value;
	});
	result.catch(() => undefined);
	return result;
}

/** A call's result, or `bridgeLost` when it does not come in time. */
async function within<T>(call: Call<T>, ms = CALL_TIMEOUT_MS): Promise<T> {
	let late = false;
	const timer = setTimeout(() => {
		late = true;
		call.cancel();
	}, ms);
	try {
		return await call.result;
	} catch (thrown) {
		if (late) throw new HeadstartError("bridgeLost", `the bridge did not answer within ${ms} ms`);
		throw thrown;
	} finally {
		clearTimeout(timer);
	}
}
