/** Workloads that are functions: a folder of apps/, in an image or on the machine's /usr, and what its arms are. */
import { appendFile, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { parse, type TomlTable } from "smol-toml";
import { type Deployed, deploy } from "../../src/cli/deploy/deploy.ts";
import { installed, requirementsOf } from "../../src/cli/deploy/requirements.ts";
import { inRoot } from "../../src/cli/paths.ts";
import type { TraceEvent } from "../../src/shared/record.ts";
import { type Image, type ImageSpec, programFiles } from "../evaluation/images.ts";
import type { How, Start } from "../invoke.ts";
import { merged, staged } from "../stage.ts";
import { fetchMs } from "../timeline.ts";
import { deployWithArtifact } from "./artifact.ts";
import type { Sample, Site, Staged } from "./workload.ts";

/** What every image of a Python function has. */
const PYTHON = ["python3-minimal", "libpython3-stdlib", "libstdc++6"];
/** Of these packages, what no function needs. */
const UNUSED = [
	...["idlelib", "lib2to3", "pydoc_data", "ensurepip", "distutils", "unittest", "test"].map(
		(name) => `/usr/lib/python3*/${name}/*`,
	),
	...["_test*", "_codecs_*", "_xxtest*", "nis*"].map((name) => `/usr/lib/python3*/lib-dynload/${name}`),
	...["gconv/*", "libdb-*", "libkrb5*", "libk5crypto*", "libgssapi*", "libtirpc*", "libnsl*"].map(
		(name) => `/usr/lib/x86_64-linux-gnu/${name}`,
	),
	"/usr/bin/dpkg*",
	"/usr/bin/tar",
	"/usr/share/zoneinfo/*",
];
const SITE = "/usr/local/lib/python3.11/dist-packages";
/** The machine's Python, and what Debian's packages have put there. */
const HOST_PYTHON = ["/usr/bin/python3", "/usr/lib/python3.11", "/usr/lib/python3/dist-packages"];

/**
 * The handler of the arm `setup_only`. It is in the function's own module, so that all is imported in the same order and at the same
 * depth: one module further down, CPython 3.11 has the calls of a long import at the end of a chunk of its stack, and maps and
 * unmaps the next chunk at each (0.3 s in gVisor).
 */
const SETUP_ONLY = `

def setup_only(event):
    return {}
`;

export interface FunctionSpec {
	name: string;
	/** Its folder in apps/. */
	app: string;
	/** Without an image, on the machine's /usr: a program of it, or a library, whose own libraries are kept in memory. */
	onHost?: string;
	event: unknown;
	/** Changes of [app] and [egress] beside what all have. */
	limits?: TomlTable;
	env?: TomlTable;
	egress?: readonly string[];
	/** What is done before each start, and is no part of it. */
	prepare?(): Promise<void>;
	/** When a start is over, ns of the timeline's clock. */
	startOf(events: readonly TraceEvent[]): { zero: number; end: number };
	/** What only the application can do once its bytes are there, ms. */
	loadOf?(events: readonly TraceEvent[]): number;
	/** Throws where an answer, or how it came about, is not right. */
	check?(answer: unknown, events: readonly TraceEvent[]): void;
}

/** Deploys the function and its variant for `setup_only`; gives the arms that it has. */
export async function stageFunction(site: Site, spec: FunctionSpec): Promise<Staged> {
	const image = spec.onHost === undefined ? await site.images.get(await imageOf(spec)) : undefined;
	if (spec.onHost !== undefined) {
		const libraries = await programFiles(spec.onHost, spec.onHost);
		await site.keeper.keep([...HOST_PYTHON, ...libraries.map(({ from }) => from)]);
	}
	const script = await deployFunction(site, spec, image, "script");
	await deployFunction(site, spec, image, "setup");
	const start = async (name: string, how: How, present: boolean): Promise<Start> => {
		// The function's own way drops its initscript, too.
		const dropped = !present && (image !== undefined || name === spec.name);
		return site.bench.invoker.start(name, spec.event, dropped ? { ...how, dropped } : how);
	};
	const arm =
		(how: How, { name = spec.name, present = false } = {}) =>
		async (): Promise<Sample> => {
			const { events, answer } = await start(name, how, present);
			if (name === spec.name) spec.check?.(answer, events);
			const { zero, end } = spec.startOf(events);
			return { ms: (end - zero) / 1e6, ...(spec.loadOf ? { load: spec.loadOf(events) } : {}) };
		};
	return {
		arms: {
			without: arm({ direct: true }),
			with: arm({}),
			setup_only: arm({}, { name: `${spec.name}-setup` }),
			fetch_only: async () => {
				const { events } = await start(spec.name, { scriptOnly: true }, false);
				return { ms: fetchMs(events) };
			},
			present_without: arm({ direct: true }, { present: true }),
			present_with: arm({}, { present: true }),
		},
		async prepare(arm) {
			await spec.prepare?.();
			await site.images.prepare(arm, image);
		},
		facts: {
			image_bytes: image?.bytes ?? 0,
			bundle_bytes: script.bundleBytes,
			initscript_bytes: script.initscript?.bytes ?? 0,
		},
	};
}

/** Python, and the packages of requirements.txt as pip installed them. */
async function imageOf({ app }: FunctionSpec): Promise<ImageSpec> {
	const folder = inRoot("apps", app);
	const requirements = await requirementsOf(folder);
	const files = requirements === undefined ? [] : [{ from: await installed(folder, requirements), to: SITE }];
	return {
		name: `python-${packagesOf(requirements ?? "").join("-") || "plain"}`,
		debian: PYTHON,
		exclude: UNUSED,
		files,
		python: true,
	};
}

/** The packages that a requirements.txt names: functions that need the same have one image. */
export function packagesOf(requirements: string): string[] {
	return requirements
		.split("\n")
		.flatMap((line) => /^([A-Za-z0-9._-]+)==/.exec(line)?.[1]?.toLowerCase() ?? []);
}

async function deployFunction(
	site: Site,
	spec: FunctionSpec,
	image: Image | undefined,
	variant: "script" | "setup",
): Promise<Deployed> {
	const {
		bench: { store, client },
		isolation,
	} = site;
	const setup = variant === "setup";
	const { program, module } = await commandOf(spec.app);
	const change = (manifest: TomlTable): TomlTable => {
		const { initscript, ...rest } = manifest;
		const { base: _, ...app } = rest.app as TomlTable;
		const own = {
			isolation,
			network: true,
			...(image ? { image: image.reference } : { base: "host" }),
			...(setup ? { command: [...program, `${module}:setup_only`] } : {}),
			env: {
				...(app.env as TomlTable | undefined),
				HEADSTART_MARKS: "1",
				HEADSTART_S3_ENDPOINT: store.endpoint,
				AWS_ACCESS_KEY_ID: store.accessKey,
				AWS_SECRET_ACCESS_KEY: store.secretKey,
				AWS_REGION: store.region,
				...spec.env,
			},
		};
		const changed = merged({ ...rest, app, name: setup ? `${spec.name}-setup` : spec.name }, "app", own);
		const limited = spec.limits ? limit(changed, spec.limits) : changed;
		const allowed = spec.egress ? merged(limited, "egress", { allow: [...spec.egress] }) : limited;
		return setup || initscript === undefined ? allowed : { ...allowed, initscript };
	};
	return staged(inRoot("apps", spec.app), change, async (folder) => {
		// Its packages are in the image.
		if (image) await rm(join(folder, "requirements.txt"), { force: true });
		if (setup) {
			await appendFile(join(folder, `${module}.py`), SETUP_ONLY);
			return deploy(folder, client);
		}
		return deployWithArtifact(site, folder, spec.name);
	});
}

/** A Python function's command: the program with its arguments, and the module whose handler it is given last. */
async function commandOf(app: string): Promise<{ program: string[]; module: string }> {
	const manifest = parse(await readFile(inRoot("apps", app, "headstart.toml"), "utf8"));
	const command = [...((manifest.app as TomlTable).command as string[])];
	const [module = ""] = command.pop()?.split(":") ?? [];
	return { program: command, module };
}

function limit(manifest: TomlTable, limits: TomlTable): TomlTable {
	const app = manifest.app as TomlTable;
	return { ...manifest, app: merged(app, "limits", limits) };
}
