/** Starts a real bridge for the interop tests: its own folders, no runner. Runs in Node. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const READY_MS = 20_000;

/** Where the bridge's socket will be; vitest.config.ts binds it. */
export function socketPath(directory: string): string {
	return join(directory, "run", "bridge.sock");
}

/** The newest bridge that was built. */
function program(): string {
	const root = join(import.meta.dirname, "../../..");
	const built = ["release", "debug"].map((profile) => join(root, "target", profile, "native-bridge"));
	const found = [process.env.HEADSTART_BRIDGE, ...built].find(
		(path) => path !== undefined && existsSync(path),
	);
	if (found === undefined) throw new Error("there is no native-bridge: run `cargo build` first");
	return found;
}

/** As a host does that is told that the bridge does not know it. */
async function putTenant(socket: string, name: string): Promise<void> {
	const asked = request({ socketPath: socket, path: `/tenants/${name}`, method: "PUT" });
	asked.end("{}");
	const [answer] = await once(asked, "response");
	answer.resume();
	if (answer.statusCode !== 204) throw new Error(`the bridge took no tenant: ${answer.statusCode}`);
}

export default async function setup(): Promise<() => Promise<void>> {
	const directory = process.env.HEADSTART_INTEROP ?? "";
	if (directory === "") throw new Error("HEADSTART_INTEROP names no folder");
	const config = join(directory, "bridge.json");
	mkdirSync(directory, { recursive: true });
	writeFileSync(
		config,
		JSON.stringify({
			run_dir: join(directory, "run"),
			state_dir: join(directory, "state"),
			grace_ms: 2000,
			memory: { node_bytes: 64 << 20, pool: [] },
			net: { subnet: "10.214.0.0/16", pool: 0, allow_private: true },
		}),
	);
	const bridge = spawn(program(), ["--config", config], { stdio: ["ignore", "pipe", "pipe"] });
	let output = "";
	for (const stream of [bridge.stdout, bridge.stderr]) {
		stream.on("data", (chunk) => {
			output += chunk;
		});
	}
	const until = Date.now() + READY_MS;
	while (!existsSync(socketPath(directory))) {
		if (bridge.exitCode !== null || Date.now() > until)
			throw new Error(`the bridge did not start:\n${output}`);
		await sleep(20);
	}
	await putTenant(socketPath(directory), "default");
	return async () => {
		if (bridge.exitCode === null) {
			bridge.kill("SIGTERM");
			await once(bridge, "exit");
		}
		rmSync(directory, { recursive: true, force: true });
	};
}
