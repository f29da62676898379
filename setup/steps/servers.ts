import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { command } from "../command.ts";
import { root, Stamp } from "../stamp.ts";
import type { Step } from "../step.ts";
import { lacking } from "./debian.ts";

/** Debian package → what shows that it is there. */
const PACKAGES = {
	"redis-server": "/usr/bin/redis-server",
	memcached: "/usr/bin/memcached",
	"etcd-server": "/usr/bin/etcd",
} as const;

/** The servers that the tests start for themselves on free ports: Redis, memcached, and etcd for gRPC. */
export const servers: Step = {
	name: "servers for tests",
	cost: { downloadMb: 10, diskMb: 30, minutes: 0.3 },
	done: async () => missing().length === 0,
	check: async () => {
		const names = missing().join(" ");
		return lacking(names, `apt-get install --no-install-recommends ${names}`);
	},
	async run() {
		const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
		await command(this.name, "apt-get", ["update", "-q"], { env });
		const install = ["install", "-y", "-q", "--no-install-recommends", ...missing()];
		await command(this.name, "apt-get", install, { env });
	},
};

const MOTO = ".headstart/moto";
const REQUIREMENTS = "setup/servers/requirements.txt";
const installed = new Stamp("moto", [REQUIREMENTS], [`${MOTO}/moto`]);

/** moto, whose server stands for SQS in the tests. */
export const moto: Step = {
	name: "SQS for tests",
	cost: { downloadMb: 35, diskMb: 140, minutes: 0.5 },
	done: () => installed.fresh(),
	async run() {
		await rm(join(root, MOTO), { recursive: true, force: true });
		const quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"];
		const what = ["--target", MOTO, "-r", REQUIREMENTS];
		await command(this.name, "/usr/bin/python3", ["-m", "pip", "install", ...quiet, ...what]);
		await installed.set();
	},
};

function missing(): string[] {
	return Object.entries(PACKAGES).flatMap(([name, path]) => (existsSync(path) ? [] : [name]));
}
