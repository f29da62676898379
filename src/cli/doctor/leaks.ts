import { existsSync } from "node:fs";
import { readdir, readFile, readlink, realpath } from "node:fs/promises";
import { join } from "node:path";
import { askSocket } from "../node/wait.ts";
import { nodeTag } from "./tag.ts";

/** Something of a node that no live instance owns. */
export interface Leak {
	kind:
		| "process"
		| "mount"
		| "namespace"
		| "link"
		| "memfd"
		| "file"
		| "sandbox"
		| "socket"
		| "cgroup"
		| "table";
	/** What it is called: a path, a name, or a process id with its command. */
	name: string;
	/** Who holds it, where that is known. */
	by?: string;
}

/** What the bridge owns now (`GET /inventory`), as far as it is needed here. Empty: no bridge runs. */
export interface Owned {
	instances: Set<string>;
	pids: Set<number>;
	namespaces: Set<string>;
	links: Set<string>;
	mounts: Set<string>;
	cgroups: Set<string>;
	folders: Set<string>;
}

/**
 * Lists everything on this machine that carries the name of the node on `run` and `state`, less what its bridge says that it
 * owns. Reads /proc, /sys and the node's directories; changes nothing.
 */
export async function findLeaks(run: string, state: string): Promise<Leak[]> {
	const where = { run: await resolved(run), state: await resolved(state) };
	const tag = nodeTag(where.run);
	const { bridge, owned } = await inventory(where.run);
	const found = await Promise.all([
		namespaces(tag, owned),
		links(tag, owned),
		mounts(where, owned),
		cgroups(tag, owned),
		sharedFiles(tag, bridge !== undefined, owned),
		folders(join(where.run, "instances"), "socket", owned),
		folders(join(where.state, "sandboxes"), "sandbox", owned),
		processes(where, tag, bridge, owned),
	]);
	return found.flat();
}

/** What {@link findLeaks} finds once there is nothing, or after `within` ms: what has ended takes a moment to be reaped. */
export async function leaksAfter(run: string, state: string, within: number): Promise<Leak[]> {
	const end = Date.now() + within;
	for (;;) {
		const leaks = await findLeaks(run, state);
		if (leaks.length === 0 || Date.now() > end) return leaks;
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
}

async function resolved(path: string): Promise<string> {
	return existsSync(path) ? realpath(path) : path;
}

/** Asks the bridge for its process id and what it owns; nothing is owned when none answers. */
async function inventory(run: string): Promise<{ bridge: number | undefined; owned: Owned }> {
	try {
		const { status, body } = await askSocket(join(run, "bridge.sock"), "/inventory");
		if (status === 200) {
			const json: unknown = JSON.parse(body);
			const pid = typeof json === "object" && json !== null && "pid" in json ? Number(json.pid) : 0;
			return { bridge: pid, owned: parseInventory(json) };
		}
	} catch {
		// no bridge: whatever is there is a leak
	}
	return { bridge: undefined, owned: parseInventory({}) };
}

/**
 * Collects every name in the bridge's answer, wherever it stands: instances by id, the rest by the key that it is under.
 * An instance in the stage "ended" is not live: what it still has is being reaped, or a leak.
 */
export function parseInventory(json: unknown): Owned {
	const owned: Owned = {
		instances: new Set(),
		pids: new Set(),
		namespaces: new Set(),
		links: new Set(),
		mounts: new Set(),
		cgroups: new Set(),
		folders: new Set(),
	};
	const visit = (value: unknown, key: string): void => {
		if (Array.isArray(value)) {
			for (const item of value) visit(item, key);
		} else if (typeof value === "object" && value !== null) {
			if ("stage" in value && value.stage === "ended") return;
			for (const [name, item] of Object.entries(value)) visit(item, name);
		} else if (typeof value === "number") {
			if (key === "pid" || key === "pids") owned.pids.add(value);
		} else if (typeof value === "string") {
			SETS[key]?.(owned).add(value);
		}
	};
	visit(json, "");
	return owned;
}

const SETS: Record<string, ((owned: Owned) => Set<string>) | undefined> = {
	id: ({ instances }) => instances,
	instances: ({ instances }) => instances,
	namespace: ({ namespaces }) => namespaces,
	namespaces: ({ namespaces }) => namespaces,
	links: ({ links }) => links,
	mounts: ({ mounts }) => mounts,
	cgroup: ({ cgroups }) => cgroups,
	folder: ({ folders }) => folders,
};

async function names(folder: string): Promise<string[]> {
	try {
		return await readdir(folder);
	} catch {
		return [];
	}
}

async function namespaces(tag: string, owned: Owned): Promise<Leak[]> {
	return (await names("/run/netns"))
		.filter((name) => name.startsWith(`hs-${tag}-`) && !owned.namespaces.has(name))
		.map((name) => ({ kind: "namespace", name }));
}

async function links(tag: string, owned: Owned): Promise<Leak[]> {
	return (await names("/sys/class/net"))
		.filter((name) => name.startsWith(`hsv${tag}`) && !owned.links.has(name))
		.map((name) => ({ kind: "link", name }));
}

async function mounts({ run, state }: { run: string; state: string }, owned: Owned): Promise<Leak[]> {
	const points = parseMounts(await readFile("/proc/self/mountinfo", "utf8"));
	return points
		.filter(
			(point) => [run, state].some((folder) => point.startsWith(`${folder}/`)) && !owned.mounts.has(point),
		)
		.map((name) => ({ kind: "mount", name }));
}

/** The mount points in /proc/self/mountinfo. */
export function parseMounts(mountinfo: string): string[] {
	return mountinfo
		.split("\n")
		.flatMap((line) => line.split(" ")[4] ?? [])
		.map((point) =>
			point.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
		);
}

async function cgroups(tag: string, owned: Owned): Promise<Leak[]> {
	const hierarchies = [
		"/sys/fs/cgroup",
		...(await names("/sys/fs/cgroup")).map((name) => join("/sys/fs/cgroup", name)),
	];
	const leaks = await Promise.all(
		hierarchies.map(async (hierarchy) => {
			const parent = join(hierarchy, "headstart", tag);
			const children = await folderNames(parent);
			return children
				.filter((child) => !owned.cgroups.has(`headstart/${tag}/${child}`))
				.map((child): Leak => ({ kind: "cgroup", name: join(parent, child) }));
		}),
	);
	return leaks.flat();
}

async function folderNames(folder: string): Promise<string[]> {
	try {
		const entries = await readdir(folder, { withFileTypes: true });
		return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
	} catch {
		return [];
	}
}

async function folders(parent: string, kind: "socket" | "sandbox", owned: Owned): Promise<Leak[]> {
	return (await names(parent))
		.filter((name) => !owned.instances.has(name) && !owned.folders.has(join(parent, name)))
		.map((name) => ({ kind, name: join(parent, name) }));
}

/** Files that applications share with the bridge: "<instance>.<number>"; those that are kept ready are the bridge's. */
async function sharedFiles(tag: string, hasBridge: boolean, owned: Owned): Promise<Leak[]> {
	const folder = `/dev/shm/headstart-${tag}`;
	const files = await names(folder);
	// A bridge that ends removes the folder, too.
	if (!hasBridge && files.length === 0 && existsSync(folder)) return [{ kind: "file", name: folder }];
	return files
		.filter((name) => {
			const [owner = ""] = name.split(".");
			return !(owner === "ready" ? hasBridge : owned.instances.has(owner));
		})
		.map((name) => ({ kind: "file", name: join(folder, name) }));
}

/** Processes in the node's cgroups or with its directories in their command, and memory segments that they or the bridge hold. */
async function processes(
	where: { run: string; state: string },
	tag: string,
	bridge: number | undefined,
	owned: Owned,
): Promise<Leak[]> {
	const leaks: Leak[] = [];
	for (const name of await names("/proc")) {
		const pid = Number(name);
		if (!Number.isInteger(pid) || pid === process.pid) continue;
		const command = (await readQuietly(`/proc/${pid}/cmdline`)).replaceAll("\0", " ").trim();
		const groups = await readQuietly(`/proc/${pid}/cgroup`);
		const group = new RegExp(`/headstart/${tag}/([^/\\s]+)`).exec(groups)?.[1];
		const sandboxed =
			group !== undefined || (command.includes(`${where.state}/`) && /runsc|bwrap/.test(command));
		if (sandboxed && !owned.pids.has(pid) && !owned.cgroups.has(`headstart/${tag}/${group}`)) {
			leaks.push({ kind: "process", name: `${pid} ${command.slice(0, 120)}` });
		}
		if (sandboxed || pid === bridge) leaks.push(...(await memfds(pid, pid === bridge, owned)));
	}
	return leaks;
}

/** Segments of instances and of shared replies (memfds "headstart:<id>") that are open in a process though nobody has them any more. */
async function memfds(pid: number, isBridge: boolean, owned: Owned): Promise<Leak[]> {
	const open = await Promise.all(
		(await names(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")),
	);
	const ids = open.flatMap((target) => /^\/memfd:headstart:(i-[a-z0-9]+|shared-\d+)/.exec(target)?.[1] ?? []);
	return [...new Set(ids)]
		.filter((id) => !owned.instances.has(id))
		.map((id) => ({
			kind: "memfd",
			name: `headstart:${id}`,
			by: isBridge ? "the bridge" : `process ${pid}`,
		}));
}

async function readQuietly(path: string): Promise<string> {
	try {
		return await readFile(path, "utf8");
	} catch {
		return "";
	}
}
