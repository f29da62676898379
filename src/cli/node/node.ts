import { existsSync } from "node:fs";
import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { CliError } from "../errors.ts";
import { inRoot, program, workerd } from "../paths.ts";
import { type Access, operatorTokenFile, tokenAccess } from "./access.ts";
import {
	type AllowPrivate,
	type BridgeImages,
	type BridgeMemory,
	bridgeConfig,
	RUNNER_SLOTS,
} from "./bridge-config.ts";
import { type Sink, Supervised } from "./child.ts";
import { hostConfig } from "./config.ts";
import { type DevStore, keepCredentials, SERVICES, startDevStore } from "./dev-store.ts";
import { lockNode, recordNode } from "./lock.ts";
import { askSocket, freePort, until } from "./wait.ts";

/** What a host's process is told. */
export interface HostSettings {
	port: number;
	run: string;
	state: string;
	access: Access;
	recordInputs: boolean;
}

export interface NodeOptions {
	/** `RUN`: sockets and configuration. Kept short: a unix socket's path has at most 107 bytes. */
	run: string;
	/** `STATE`: what survives a restart. */
	state: string;
	/** Port of the HTTP API on 127.0.0.1; 0: any free one. */
	port: number;
	/** Answer requests without a token, as the operator's: for development, tests and measurements. */
	development?: boolean;
	/** Run a store for development, with its credentials as the secret "dev-store" of the tenant "default"; "s3": behind a link shaped like S3. */
	devStore?: "plain" | "s3";
	/** The store's folder, bucket by bucket; by default the example data that the set-up made. */
	storeDir?: string;
	/** The bridge's memory, where its defaults do not fit. */
	memory?: BridgeMemory;
	/** What of the machine's own networks functions may reach; for development all that they spell, else nothing. */
	allowPrivate?: AllowPrivate;
	/** Where images of applications come from; none without it. */
	images?: BridgeImages;
	/** Keep all inputs of a transcript in its instance's record, to be replayed: for tests. */
	recordInputs?: boolean;
	/** What the programs print. */
	sink: Sink;
	/** Runs in place of workerd with the host in it: `wrangler dev`. */
	host?: (settings: HostSettings, sink: Sink) => Supervised;
}

/** A running node, for `headstart node`, tests and benchmarks. */
export interface RunningNode {
	url: string;
	run: string;
	state: string;
	/** Where the operator's token is; none where no token is wanted. */
	operatorToken: string | undefined;
	store: DevStore | undefined;
	bridge: Supervised;
	host: Supervised;
	/**
	 * Drains and ends the node: the bridge refuses new invocations, gives running ones 10 s and reaps all; then the host, which
	 * has passed their answers on by then; then the store. Each call waits for the end.
	 */
	stop(): Promise<void>;
}

/** Times until SIGKILL when the node stops, ms. The bridge: 10 s for running invocations and 10 s to reap, and a margin. */
const DRAIN = 25_000;
/** The host: to pass on what callers have not read yet. */
const FLUSH = 10_000;
const READY = 30_000;

/**
 * Starts bridge (with its runner), host and store, and resolves when the node answers. Whatever fails, nothing is left.
 * Throws {@link CliError} for a taken port, a second node on the directory, and parts that are not built.
 */
export async function startNode(options: NodeOptions): Promise<RunningNode> {
	const run = resolve(options.run);
	const state = resolve(options.state);
	checkPaths(run);
	await mkdir(run, { recursive: true, mode: 0o700 });
	await mkdir(join(state, "objects"), { recursive: true, mode: 0o700 });
	const lock = await lockNode(run);
	let store: DevStore | undefined;
	let bridge: Supervised | undefined;
	let host: Supervised | undefined;
	let address: string | undefined;
	const end = async (): Promise<void> => {
		await bridge?.stop(DRAIN);
		if (address !== undefined) await written(address);
		await host?.stop(FLUSH);
		await store?.stop();
		lock.close();
	};
	let ending: Promise<void> | undefined;
	const stop = (): Promise<void> => {
		ending ??= end();
		return ending;
	};
	try {
		const port = await freePort(options.port);
		const url = `http://127.0.0.1:${port}`;
		await recordNode(run, { pid: process.pid, url, state });
		const access: Access = options.development ? { kind: "development" } : await tokenAccess(state);
		if (options.devStore) store = await startDevStore(options);
		bridge = await startBridge(run, state, options);
		if (store) await keepCredentials(join(run, "bridge.sock"), store);
		const settings = { port, run, state, access, recordInputs: options.recordInputs ?? false };
		host = await (options.host ?? startHost)(settings, options.sink);
		await healthy(url);
		address = url;
		// Whoever asks for its health makes it take over what the last one has left.
		host.onRestart = () => void healthy(url).catch(({ message }: Error) => options.sink("node", message));
		const operatorToken = options.development ? undefined : operatorTokenFile(state);
		return { url, run, state, operatorToken, store, bridge, host, stop };
	} catch (error) {
		await stop();
		throw error;
	}
}

/** Resolves when the host answers, and is ready for starts. */
async function healthy(url: string): Promise<void> {
	await until("the host", READY, async () => (await health(url)) || undefined);
}

/** Resolves when the host has written what has ended to its log, or cannot. */
async function written(url: string): Promise<void> {
	// A host that does not answer writes nothing.
	await health(url).catch(() => undefined);
}

async function health(url: string): Promise<boolean> {
	const answer = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(2_000) });
	await answer.arrayBuffer();
	return answer.ok;
}

async function startBridge(run: string, state: string, options: NodeOptions): Promise<Supervised> {
	const { memory, images, sink } = options;
	const config = join(run, "bridge.json");
	const settings = {
		...(memory === undefined ? {} : { memory }),
		...(images === undefined ? {} : { images }),
		...reach(options),
	};
	await writeFile(config, JSON.stringify(bridgeConfig(run, state, settings), undefined, "\t"), {
		mode: 0o600,
	});
	const socket = join(run, "bridge.sock");
	await rm(socket, { force: true });
	const bridge = new Supervised(
		{ name: "bridge", command: program("native-bridge"), args: ["--config", config] },
		sink,
	);
	try {
		await until("the native bridge", READY, async () => {
			const { status } = await askSocket(socket, "/healthz");
			return status === 200 || undefined;
		});
	} catch (error) {
		await bridge.stop(1_000);
		throw error;
	}
	return bridge;
}

/** The networks that functions may reach, the development store's among them. */
function reach({ development, devStore, allowPrivate }: NodeOptions): { allowPrivate?: AllowPrivate } {
	if (allowPrivate === true || (development && allowPrivate === undefined)) return { allowPrivate: true };
	const networks = [...(allowPrivate ?? []), ...(devStore === undefined ? [] : [SERVICES])];
	return networks.length === 0 ? {} : { allowPrivate: networks };
}

async function startHost(
	{ run, state, port, access, recordInputs }: HostSettings,
	sink: Sink,
): Promise<Supervised> {
	const folder = join(run, "host");
	await mkdir(folder, { recursive: true });
	await copyFile(inRoot("dist/host/worker.js"), join(folder, "worker.js"));
	const config = join(folder, "config.capnp");
	await writeFile(
		config,
		hostConfig({
			listen: `127.0.0.1:${port}`,
			bridgeSocket: join(run, "bridge.sock"),
			relaySockets: Array.from({ length: RUNNER_SLOTS }, (_, slot) => join(run, `relay-${slot}.sock`)),
			objects: join(state, "objects"),
			bundle: "worker.js",
			access,
			recordInputs,
		}),
		{ mode: 0o600 },
	);
	return new Supervised({ name: "host", command: workerd, args: ["serve", "--experimental", config] }, sink);
}

function checkPaths(run: string): void {
	const longest = join(run, "instances", `i-${"x".repeat(20)}`, "app.sock");
	if (longest.length > 107) {
		throw new CliError(`${run} is too long for the sockets in it`, "choose a shorter directory with --run");
	}
	for (const needed of [
		program("native-bridge"),
		workerd,
		inRoot("dist/host/worker.js"),
		inRoot("dist/runner/config.capnp"),
	]) {
		if (!existsSync(needed)) {
			throw new CliError(`${needed} is missing`, "run `npm run setup` in the checkout first");
		}
	}
}
