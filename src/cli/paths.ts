import { existsSync } from "node:fs";
import { join } from "node:path";

/** The checkout this file is in. */
export const root = join(import.meta.dirname, "../..");

export function inRoot(...parts: string[]): string {
	return join(root, ...parts);
}

/** Where things that are built or fetched lie: assets, the development store, stamps of the set-up. */
export const built = inRoot(".headstart");

/** wrangler itself, to be run with this Node: its command is a wrapper that leaves it behind when it is killed. */
export const wrangler = inRoot("node_modules/wrangler/wrangler-dist/cli.js");

export const workerd = inRoot(
	`node_modules/@cloudflare/workerd-linux-${process.arch === "arm64" ? "arm64" : "64"}/bin/workerd`,
);

/** A Rust program of ours: the release build, or else the debug build. */
export function program(name: "native-bridge" | "headstart-store" | "headstart-link"): string {
	const release = inRoot("target/release", name);
	const debug = inRoot("target/debug", name);
	return !existsSync(release) && existsSync(debug) ? debug : release;
}
