import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { command } from "../command.ts";
import type { Step } from "../step.ts";

const run = promisify(execFile);

/** A Debian package, and the paths of which one shows that it is there. */
type Packages = Readonly<Record<string, string>>;

/** A step that installs Debian packages. */
function packages(name: string, cost: Step["cost"], wanted: Packages): Step {
	const missing = (): string[] =>
		Object.entries(wanted).flatMap(([name, paths]) => (paths.split(" ").some(existsSync) ? [] : [name]));
	return {
		name,
		cost,
		done: async () => missing().length === 0,
		check: async () => {
			const names = missing().join(" ");
			return lacking(names, `apt-get install --no-install-recommends ${names}`);
		},
		async run() {
			const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
			await command(name, "apt-get", ["update", "-q"], { env });
			const install = ["install", "-y", "-q", "--no-install-recommends", ...missing()];
			await command(name, "apt-get", install, { env });
		},
	};
}

export const debian: Step = packages(
	"Debian packages",
	{ downloadMb: 130, diskMb: 650, minutes: 1 },
	{
		capnproto: "/usr/bin/capnp",
		bubblewrap: "/usr/bin/bwrap",
		nftables: "/usr/sbin/nft",
		iproute2: "/usr/sbin/ip /sbin/ip /usr/bin/ip /bin/ip",
		clang: "/usr/bin/clang",
		lld: "/usr/bin/wasm-ld",
		// For the clients in C; Rust links with it, too.
		gcc: "/usr/bin/cc /usr/bin/gcc",
		"libc6-dev": "/usr/include/stdio.h",
		python3: "/usr/bin/python3",
		"python3-pip": "/usr/lib/python3/dist-packages/pip /usr/bin/pip3",
		curl: "/usr/bin/curl",
		"ca-certificates": "/etc/ssl/certs",
	},
);

/** For initscripts in Rust: Debian's compiler, whatever other one there is, has a library for WASM. Only tests need it. */
export const wasmRust: Step = packages(
	"Rust for initscripts, for tests",
	{ downloadMb: 115, diskMb: 580, minutes: 0.5 },
	{
		rustc: "/usr/bin/rustc",
		"libstd-rust-dev-wasm32": "/usr/lib/rustlib/wasm32-unknown-unknown",
	},
);

/** The servers that the tests start for themselves on free ports: Redis, memcached, etcd for gRPC, and a registry of images. */
export const servers: Step = packages(
	"servers for tests",
	{ downloadMb: 21, diskMb: 69, minutes: 0.3 },
	{
		"redis-server": "/usr/bin/redis-server",
		memcached: "/usr/bin/memcached",
		"etcd-server": "/usr/bin/etcd",
		"etcd-client": "/usr/bin/etcdctl",
		"docker-registry": "/usr/bin/docker-registry",
		// Makes the images that are pulled from it.
		mmdebstrap: "/usr/bin/mmdebstrap",
	},
);

/** What the heavy ones of the SeBS class functions use (apps/sebs-*, packages.txt). Only their benchmark needs it. */
export const sebs: Step = packages(
	"packages of the SeBS class functions",
	{ downloadMb: 165, diskMb: 700, minutes: 2 },
	{
		ffmpeg: "/usr/bin/ffmpeg",
		"python3-torch": "/usr/lib/python3/dist-packages/torch",
		"python3-torchvision": "/usr/lib/python3/dist-packages/torchvision",
	},
);

export const gvisor: Step = {
	name: "gVisor",
	cost: { downloadMb: 15, diskMb: 35, minutes: 1 },
	async done() {
		try {
			const { stdout } = await run("runsc", ["--version"]);
			return (/(\d{8})/.exec(stdout)?.[1] ?? "99999999") >= "20230601";
		} catch {
			return false;
		}
	},
	check: async () => lacking("gVisor's runsc of 2023 or later (https://gvisor.dev)", "sh setup/runsc.sh"),
	async run() {
		await command(this.name, "sh", ["setup/runsc.sh"]);
	},
};

/** What to do first where we may not install `what` by `how` ourselves: no Debian, or no root. */
export function lacking(
	what: string,
	how: string,
	{ isDebian = existsSync("/etc/debian_version"), isRoot = process.getuid?.() === 0 } = {},
): string[] {
	if (!isDebian) return [`this is not Debian: install by your system's own means: ${what}`];
	return isRoot ? [] : [`this is not root: run this as root, or first: sudo ${how}`];
}
