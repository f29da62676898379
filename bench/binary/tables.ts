/** Tables 4 and 5: what vecdb's binary is made of, and what the initscript API moves out of initscripts into the bridge. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { buildInitscript } from "../../src/build/index.ts";
import { inRoot, program } from "../../src/cli/paths.ts";
import { CACHE } from "../evaluation/registry.ts";
import { type Component, components, type Grouping } from "./components.ts";
import { symbolsOf } from "./symbols.ts";

export interface BinaryTable {
	table: "table4" | "table5";
	title: string;
	/** Of the stripped program. */
	total_bytes: number;
	components: (Component & { initscript_bytes?: number })[];
	initscript_bytes?: number;
	paper: { total_kb: number; initscript_kb?: number };
}

const VECDB: Grouping = {
	"Application (vectors, search, its API)": ["vecdb", "headstart_serving"],
	"Hand-over client": ["headstart", "nix", "rustix", "memoffset"],
	"RPC stack (HTTP, JSON)": ["httparse", "serde*", "zmij", "itoa", "memchr"],
	"Command line": ["clap*", "anstream", "anstyle*", "strsim", "utf8parse", "colorchoice"],
};

const BRIDGE: Grouping = {
	"RPC stacks (HTTP, HTTP/2, gRPC, Redis, memcached, SQS), DNS, egress": [
		"headstart_net",
		"h2",
		"http*",
		"hyper*",
		"fnv",
		"percent_encoding",
		"url",
		"idna",
		"icu*",
	],
	"TLS and cryptography": [
		"rustls*",
		"tokio_rustls",
		"webpki*",
		"ring",
		"untrusted",
		"C:ring",
		"C:ecp",
		"C:fe",
		"C:x25519",
		"C:bn",
		"C:aes",
		"C:gcm",
		"C:sha",
		"C:CRYPTO",
		"C:ChaCha",
		"C:p256",
		"C:p384",
		"sha2",
		"hmac",
		"subtle",
		"zeroize",
	],
	"Instances, memory, hand-over, connections": [
		"native_bridge",
		"headstart_memory",
		"headstart_splice",
		"headstart_base",
	],
	"Sandboxes and runners": ["headstart_sandbox", "headstart_runner"],
	"Images (registry client, layers)": [
		"headstart_image",
		"oci_*",
		"reqwest",
		"tar",
		"ruzstd",
		"zlib_rs",
		"flate2",
	],
	"Control (Cap'n Proto)": ["capnp*"],
	"Logging and metrics": [
		"tracing*",
		"prometheus_client",
		"regex*",
		"aho_corasick",
		"sharded_slab",
		"matchers",
	],
	"Asynchronous runtime": ["tokio*", "futures*", "mio", "bytes", "socket2", "parking_lot*", "signal_hook*"],
	"Configuration (JSON, TOML, command line)": [
		"serde*",
		"toml*",
		"winnow",
		"zmij",
		"itoa",
		"clap*",
		"anstream",
		"anstyle*",
		"strsim",
	],
};

export async function table4(note: (text: string) => void): Promise<BinaryTable> {
	const symbols = await symbolsOf(await vecdbWithSymbols(note));
	return {
		table: "table4",
		title: "Table 4: what the stripped vecdb binary is made of",
		total_bytes: symbols.stripped,
		components: components(symbols, VECDB),
		paper: { total_kb: 2485 },
	};
}

/** The bridge is built with its symbols. */
export async function table5(): Promise<BinaryTable> {
	const [symbols, script] = await Promise.all([
		symbolsOf(program("native-bridge")),
		buildInitscript(inRoot("apps/vecdb/service/initscript.c"), { memoryBytes: 16 << 20 }),
	]);
	return {
		table: "table5",
		title:
			"Table 5: what the initscript API moves into the bridge, which all instances share, and what is left in vecdb’s initscript",
		total_bytes: symbols.stripped,
		components: [
			{ name: "Which RPCs to send, and their marshaling", bytes: 0, initscript_bytes: script.size },
			...components(symbols, BRIDGE),
		],
		initscript_bytes: script.size,
		paper: { total_kb: 1875, initscript_kb: 155 },
	};
}

/** vecdb as it is deployed, but for its symbols: built once more, beside. */
async function vecdbWithSymbols(note: (text: string) => void): Promise<string> {
	const target = `${CACHE}/target`;
	if (!existsSync(`${target}/release/vecdb`)) note("building vecdb with its symbols, once (a minute)");
	const keep = 'profile.release.package.vecdb.strip="none"';
	const args = ["build", "--release", "--frozen", "-p", "vecdb", "--config", keep, "--target-dir", target];
	await promisify(execFile)("cargo", args, { cwd: inRoot(), maxBuffer: 64 << 20 });
	return `${target}/release/vecdb`;
}
