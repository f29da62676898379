import { join } from "node:path";
import type { TomlTable } from "smol-toml";
import { type Deployed, deploy } from "../src/cli/deploy/deploy.ts";
import { built, inRoot } from "../src/cli/paths.ts";
import type { BenchNode } from "./node.ts";
import { merged, staged } from "./stage.ts";
import type { Objects } from "./store.ts";

export type Isolation = "gvisor" | "bubblewrap";
export type Format = "c" | "as" | "ts";

export const ISOLATIONS: readonly Isolation[] = ["gvisor", "bubblewrap"];
export const FORMATS: readonly Format[] = ["c", "as", "ts"];

const APP = inRoot("apps/imgrec");
const MAIN: Record<Format, string> = { c: "initscript.c", as: "initscript.as.ts", ts: "initscript.ts" };

export const MODEL = "models/efficientnet-lite0.onnx";
export const PHOTO = "inputs/chelsea.png";
export const EVENT = { key: "chelsea.png" };
/** What is right for the photo. */
export const LABELS: readonly unknown[] = ["tabby", "tiger cat", "Egyptian cat"];

/** The object that functions/recv receives: as large as the paper's model. */
const RECV_BYTES = 13_300_000;

/** The real model and photo, as set-up made them, and the reply of functions/recv. */
export function objects(): Objects {
	return {
		[MODEL]: join(built, "assets", MODEL),
		[PHOTO]: join(built, "assets", PHOTO),
		"bench/recv": RECV_BYTES,
	};
}

/** The application as `imgrec`, for the arms `without`, `with` and `fetch_only`: it can do without the bridge, too. */
export function deployImgrec(
	bench: Pick<BenchNode, "store" | "client">,
	isolation: Isolation,
	format: Format,
): Promise<Deployed> {
	const { store } = bench;
	return staged(
		APP,
		(manifest) => {
			const app = merged(manifest, "app", {
				isolation,
				network: true,
				env: {
					...tableOf(manifest, "app", "env"),
					HEADSTART_S3_ENDPOINT: store.endpoint,
					AWS_ACCESS_KEY_ID: store.accessKey,
					AWS_SECRET_ACCESS_KEY: store.secretKey,
					AWS_REGION: store.region,
				},
			});
			return merged({ ...app, name: "imgrec" }, "initscript", { main: MAIN[format] });
		},
		(folder) => deploy(folder, bench.client),
	);
}

/** The same application with the handler that fetches nothing, and no initscript, as `imgrec-setup`. */
export function deploySetupOnly(bench: BenchNode, isolation: Isolation): Promise<Deployed> {
	return staged(
		APP,
		({ initscript: _, ...manifest }) =>
			merged({ ...manifest, name: "imgrec-setup" }, "app", {
				isolation,
				network: true,
				command: ["python3", "-m", "headstart.runtime", "function:setup_only"],
			}),
		(folder) => deploy(folder, bench.client),
	);
}

/** The function that times the receipt of a finished reply, as `bench-recv`. */
export function deployRecv(bench: BenchNode, isolation: Isolation): Promise<Deployed> {
	return staged(
		inRoot("bench/functions/recv"),
		(manifest) => merged(manifest, "app", { isolation }),
		(folder) => deploy(folder, bench.client),
	);
}

function tableOf(manifest: TomlTable, outer: string, inner: string): TomlTable {
	const table = manifest[outer];
	const value = typeof table === "object" && inner in table ? (table as TomlTable)[inner] : undefined;
	return typeof value === "object" ? (value as TomlTable) : {};
}
