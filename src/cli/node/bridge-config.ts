import { join } from "node:path";
import { findProgram } from "../find-program.ts";
import { inRoot, workerd } from "../paths.ts";

/** How many tenants may have a runner at one time, each a process of its own: as many as the host has bindings for. wrangler.toml says the same. */
export const RUNNER_SLOTS = 8;

/** `RUN/bridge.json`, what native-bridge is told at its start; what is not here has its defaults (native-bridge/src/config.rs). */
export interface BridgeConfig {
	run_dir: string;
	state_dir: string;
	/** Secrets in the clear, of an earlier version: taken in and removed. */
	secrets_file: string;
	runner: { workerd: string; config_file: string; slots: number };
	runsc?: string;
	bwrap?: string;
	memory?: BridgeMemory;
	net?: { allow_private?: AllowPrivate };
	images?: BridgeImages;
}

/** Where images of applications come from, and how much of them is kept (docs/images.md). */
export interface BridgeImages {
	/** "host" or "host:port"; plain: without TLS. */
	registries: { host: string; plain?: boolean }[];
	/** Of all unpacked layers. */
	bytes?: number;
}

/**
 * What of the node's own networks (loopback, private, …) functions may reach: what they spell as an address or "localhost"
 * (true), or these networks, by whatever name ("10.1.0.0/16"). Nothing where it is not said.
 */
export type AllowPrivate = true | readonly string[];

/** Which segments the bridge keeps ready, their pages prefaulted, and the bytes of all segments together. */
export interface BridgeMemory {
	pool?: { bytes: number; count: number }[];
	node_bytes?: number;
}

export function bridgeConfig(
	run: string,
	state: string,
	{
		memory,
		allowPrivate,
		images,
	}: { memory?: BridgeMemory; allowPrivate?: AllowPrivate; images?: BridgeImages } = {},
): BridgeConfig {
	const runsc = findProgram("runsc");
	const bwrap = findProgram("bwrap");
	return {
		run_dir: run,
		state_dir: state,
		secrets_file: join(state, "secrets.toml"),
		runner: { workerd, config_file: inRoot("dist/runner/config.capnp"), slots: RUNNER_SLOTS },
		...(runsc === undefined ? {} : { runsc }),
		...(bwrap === undefined ? {} : { bwrap }),
		...(memory === undefined ? {} : { memory }),
		...(images === undefined ? {} : { images }),
		...(allowPrivate === undefined ? {} : { net: { allow_private: allowPrivate } }),
	};
}
