import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { command } from "../command.ts";
import type { Step } from "../step.ts";

const run = promisify(execFile);

/** Debian package → what shows that it is there. */
const PACKAGES = {
	capnproto: "/usr/bin/capnp",
	bubblewrap: "/usr/bin/bwrap",
	nftables: "/usr/sbin/nft",
	iproute2: "/usr/sbin/ip /sbin/ip /usr/bin/ip /bin/ip",
	clang: "/usr/bin/clang",
	lld: "/usr/bin/wasm-ld",
	// For the clients in C; Rust links with it, too.
	gcc: "/usr/bin/cc /usr/bin/gcc",
	"libc6-dev": "/usr/include/stdio.h",
	// For initscripts in Rust; with Debian's rustc, whatever other one there is.
	"libstd-rust-dev-wasm32": "/usr/lib/rustlib/wasm32-unknown-unknown",
	rustc: "/usr/bin/rustc",
	python3: "/usr/bin/python3",
	"python3-pip": "/usr/lib/python3/dist-packages/pip /usr/bin/pip3",
	curl: "/usr/bin/curl",
	"ca-certificates": "/etc/ssl/certs",
} as const;

export const debian: Step = {
	name: "Debian packages",
	cost: { downloadMb: 245, diskMb: 1230, minutes: 1 },
	done: async () => missing().length === 0,
	check: async () => {
		const names = missing().join(" ");
		return lacking(names, `apt-get install --no-install-recommends ${names}`);
	},
	async run() {
		const names = missing();
		const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
		await command(this.name, "apt-get", ["update", "-q"], { env });
		const install = ["install", "-y", "-q", "--no-install-recommends", ...names];
		await command(this.name, "apt-get", install, { env });
	},
};

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

function missing(): string[] {
	return Object.entries(PACKAGES).flatMap(([name, paths]) =>
		paths.split(" ").some(existsSync) ? [] : [name],
	);
}

/** What to do first where we may not install `what` by `how` ourselves: no Debian, or no root. */
export function lacking(
	what: string,
	how: string,
	{ isDebian = existsSync("/etc/debian_version"), isRoot = process.getuid?.() === 0 } = {},
): string[] {
	if (!isDebian) return [`this is not Debian: install by your system's own means: ${what}`];
	return isRoot ? [] : [`this is not root: run this as root, or first: sudo ${how}`];
}
