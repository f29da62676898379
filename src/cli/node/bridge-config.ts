import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { inRoot, workerd } from "../paths.ts";

/** `RUN/bridge.json`: all that native-bridge is told at its start. Paths are absolute; sizes are bytes. */
export interface BridgeConfig {
	run_dir: string;
	state_dir: string;
	secrets: string;
	/** Programs. A path that does not exist means: that back end is not offered. */
	workerd: string;
	runsc: string;
	bwrap: string;
	/** The runner's bundle: a folder with config.capnp. */
	runner_dir: string;
}

export function bridgeConfig(run: string, state: string): BridgeConfig {
	return {
		run_dir: run,
		state_dir: state,
		secrets: join(state, "secrets.toml"),
		workerd,
		runsc: findProgram("runsc") ?? "/usr/bin/runsc",
		bwrap: findProgram("bwrap") ?? "/usr/bin/bwrap",
		runner_dir: inRoot("dist/runner"),
	};
}

/** Where a program is on PATH, also in the directories of system programs. */
export function findProgram(name: string): string | undefined {
	const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin"];
	return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}
