import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, statfs } from "node:fs/promises";
import { promisify } from "node:util";
import { findProgram } from "../find-program.ts";
import { inRoot, program, workerd } from "../paths.ts";

/** One thing that a node needs of its machine. */
export interface Check {
	name: string;
	/** "warning": the node runs, with less. */
	state: "ok" | "warning" | "missing";
	/** What was found, or what is wrong. */
	found: string;
	/** How to mend it. */
	mend?: string;
}

const run = promisify(execFile);
const SETUP = "run `npm run setup`";

/** Looks at the machine. Changes nothing, and waits at most a few seconds. */
export async function checkMachine(): Promise<Check[]> {
	return Promise.all([
		root(),
		node(process.versions.node),
		runsc(),
		tool("bwrap", ["--version"], "bubblewrap", 'functions with isolation "bubblewrap"'),
		tool("nft", ["--version"], "nftables", "the sandboxes' networks"),
		tool("ip", ["-V"], "iproute2", "the sandboxes' networks"),
		tool("python3", ["--version"], "python3", "Python functions"),
		tool(
			"setpriv",
			["--version"],
			"util-linux",
			"giving up root in sandboxes, and programs that end with the node",
		),
		tool("clang", ["--version"], "clang", "initscripts in C"),
		tool("wasm-ld", ["--version"], "lld", "initscripts in C"),
		tool("capnp", ["--version"], "capnproto", "building from source"),
		cgroups(),
		sharedMemory(),
		...[program("native-bridge"), inRoot("dist/host/worker.js"), inRoot("dist/runner/config.capnp")].map(
			part,
		),
		workerdRuns(),
	]);
}

function ok(name: string, found: string): Check {
	return { name, state: "ok", found };
}

function missing(name: string, found: string, mend: string): Check {
	return { name, state: "missing", found, mend };
}

async function root(): Promise<Check> {
	return process.getuid?.() === 0
		? ok("root", "yes")
		: missing("root", "this is not root", "run the node as root: it makes sandboxes and their networks");
}

/** `version`: "22.23.3". */
export function node(version: string): Check {
	const [major = 0, minor = 0] = version.split(".").map(Number);
	return major > 22 || (major === 22 && minor >= 18)
		? ok("node", version)
		: missing(
				"node",
				`${version}, and 22.18 is needed`,
				"run `npm run setup` in the checkout: it brings one",
			);
}

async function runsc(): Promise<Check> {
	const path = findProgram("runsc");
	if (!path) return { ...judgeRunsc(undefined) };
	return judgeRunsc((await run(path, ["--version"], { timeout: 5_000 })).stdout);
}

/** Judges what `runsc --version` prints; undefined: there is none. Before 2023-06 there was no systrap. */
export function judgeRunsc(output: string | undefined): Check {
	const mend = "run `sh setup/runsc.sh`: it installs the one from Debian's backports";
	if (output === undefined)
		return missing("runsc", 'not installed: no functions with isolation "gvisor"', mend);
	const date = /(\d{8})/.exec(output)?.[1];
	const version = output.split("\n")[0]?.replace(/^runsc version /, "") ?? "";
	if (date !== undefined && date < "20230601") return missing("runsc", `${version} is too old`, mend);
	return ok("runsc", version);
}

async function tool(name: string, args: string[], debian: string, why: string): Promise<Check> {
	const path = findProgram(name);
	const mend = `apt-get install ${debian}`;
	if (!path) return missing(name, `not installed, and needed for ${why}`, mend);
	try {
		const { stdout, stderr } = await run(path, args, { timeout: 5_000 });
		return ok(name, (stdout || stderr).trim().split("\n")[0] ?? "");
	} catch (error) {
		return missing(name, `does not run: ${error instanceof Error ? error.message : error}`, mend);
	}
}

async function cgroups(): Promise<Check> {
	const mounts = await readFile("/proc/mounts", "utf8");
	const lacking = lackingControllers(
		mounts,
		existsSync("/sys/fs/cgroup/cgroup.controllers")
			? await readFile("/sys/fs/cgroup/cgroup.controllers", "utf8")
			: "",
	);
	return lacking.length === 0
		? ok("cgroups", mounts.includes(" cgroup ") ? "version 1" : "version 2")
		: missing(
				"cgroups",
				`no controller ${lacking.join(", ")}`,
				"mount them: without them a function has no limits",
			);
}

/** Which of memory, cpu and pids no hierarchy of this machine has. */
export function lackingControllers(mounts: string, unified: string): string[] {
	const first = mounts
		.split("\n")
		.filter((line) => line.split(" ")[2] === "cgroup")
		.flatMap((line) => line.split(" ")[3]?.split(",") ?? []);
	const there = new Set([...first, ...unified.split(/\s+/)]);
	return ["memory", "cpu", "pids"].filter((controller) => !there.has(controller));
}

async function sharedMemory(): Promise<Check> {
	const { blocks, bsize } = await statfs("/dev/shm");
	const megabytes = Math.round((blocks * bsize) / 1e6);
	return megabytes >= 512
		? ok("/dev/shm", `${megabytes} MB`)
		: {
				name: "/dev/shm",
				state: "warning",
				found: `${megabytes} MB: little room for results that lie in files`,
				mend: "mount -o remount,size=2G /dev/shm",
			};
}

async function part(path: string): Promise<Check> {
	const name = path.split("/").slice(-2).join("/");
	return existsSync(path) ? ok(name, "built") : missing(name, "not built", SETUP);
}

async function workerdRuns(): Promise<Check> {
	try {
		return ok("workerd", (await run(workerd, ["--version"], { timeout: 5_000 })).stdout.trim());
	} catch {
		return missing("workerd", "not installed, or it does not run here", SETUP);
	}
}
