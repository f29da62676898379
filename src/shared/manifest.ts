/**
 * headstart.toml: its shape, its defaults and its bounds, defined once for the command line and the host. Sizes and
 * durations are written as texts ("512MiB", "30s") and become bytes and milliseconds here.
 */
import * as v from "valibot";
import { HeadstartError } from "./error.ts";
import { nearest } from "./nearest.ts";
import { parseBytes, parseDuration } from "./units.ts";

const name = v.pipe(
	v.string(),
	v.regex(
		/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
		"1 to 63 lower-case letters, digits and inner hyphens are allowed",
	),
);
const shortText = v.pipe(
	v.string(),
	v.maxLength(4096, "at most 4096 characters are allowed"),
	v.check((text) => !text.includes("\0"), "a NUL is not allowed: no program could be given it"),
);
const isolation = v.picklist(["gvisor", "bubblewrap", "wasm", "snapshot"]);

function size(least: string, most: string, fallback: string) {
	return v.optional(sizeLike(least, most, fallback), fallback);
}

/** A size that has to be said. */
function sizeLike(least: string, most: string, example: string) {
	const [low, high] = [parseBytes(least) ?? 0, parseBytes(most) ?? 0];
	return v.pipe(
		v.string(`a size such as "${example}" was expected`),
		v.transform((text) => parseBytes(text) ?? Number.NaN),
		v.check(
			(bytes) => bytes >= low && bytes <= high,
			`a size from ${least} to ${most} was expected, such as "${example}"`,
		),
	);
}

function duration(least: string, most: string, fallback: string) {
	const [low, high] = [parseDuration(least) ?? 0, parseDuration(most) ?? 0];
	return v.optional(
		v.pipe(
			v.string(`a duration such as "${fallback}" was expected`),
			v.transform((text) => parseDuration(text) ?? Number.NaN),
			v.check(
				(ms) => ms >= low && ms <= high,
				`a duration from ${least} to ${most} was expected, such as "${fallback}"`,
			),
		),
		fallback,
	);
}

function count(most: number, fallback: number) {
	return v.optional(
		v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(most, `at most ${most} is allowed`)),
		fallback,
	);
}

const appLimits = v.strictObject({
	memory: size("16MiB", "64GiB", "512MiB"),
	/** CPUs: 1 is a whole one. */
	cpu: v.optional(v.pipe(v.number(), v.minValue(0.05), v.maxValue(64)), 2),
	pids: count(65_536, 256),
	/** Of one invocation. */
	timeout: duration("1ms", "1h", "30s"),
	/** Of an invocation's body. */
	event: size("1KiB", "64MiB", "8MiB"),
	/** Of an answer. */
	answer: size("1KiB", "1GiB", "64MiB"),
});

const handedOver = v.pipe(
	v.string(),
	v.maxLength(280),
	v.regex(/^[a-z][a-z0-9]*:\/\/[^\s,/?#@]+$/, 'an address such as "tcp://host:port" was expected'),
);

const ON_A_REGISTRY = /^[^\s/]+\/[^\s]+$/;
const REFERENCE_EXPECTED = '"registry/name@sha256:…" or "registry/name:tag" was expected';

/** A file that the application shares with the bridge, which receives replies into it (docs/initscripts.md, "Files"). */
const sharedFile = v.strictObject({ size: sizeLike("1B", "64GiB", "256MiB") });

const filePath = v.pipe(
	v.string(),
	v.maxLength(255),
	v.regex(
		/^\/(?:tmp|var|home)(?:\/[\w+-][\w.+-]*)+$/,
		"a path below /tmp, /var or /home was expected, of letters, digits, _ - + and dots",
	),
);

const app = v.strictObject({
	isolation: v.optional(isolation, "gvisor"),
	base: v.optional(shortText, "host"),
	/** "registry/name@sha256:…" or "registry/name:tag", in the place of a base: see docs/images.md. */
	image: v.optional(v.pipe(shortText, v.regex(ON_A_REGISTRY, REFERENCE_EXPECTED))),
	/** Of an isolate: the module with its handler, a .ts or .js file (docs/wasm.md). Without it: the image's /app. */
	main: v.optional(v.pipe(shortText, v.regex(/\.m?[jt]s$/, "a .ts or .js file was expected"))),
	/** Without it: what the image says. */
	command: v.optional(v.pipe(v.array(shortText), v.maxLength(256)), []),
	env: v.optional(v.record(v.pipe(v.string(), v.regex(/^[A-Za-z_][A-Za-z0-9_]*$/)), shortText), {}),
	/** A line of output that begins with one of these is a mark on the timeline. */
	marks: v.optional(v.pipe(v.array(shortText), v.maxLength(64)), ["mark: "]),
	/** Whether the application itself may reach the [egress] list, without the bridge. */
	network: v.optional(v.boolean(), false),
	/** Addresses whose connections an unmodified program gets from its initscript ("redis://db:6379"): see docs/preload.md. */
	preload: v.optional(v.pipe(v.array(handedOver), v.maxLength(64)), []),
	/** Files by their path in the sandbox. Their folders are fresh ones. */
	files: v.optional(
		v.pipe(
			v.record(filePath, sharedFile),
			v.check((files) => Object.keys(files).length <= 16, "at most 16 files are allowed"),
		),
		{},
	),
	/** How long an idle instance is kept for the next invocation. */
	keep_alive: duration("0s", "1h", "60s"),
	limits: v.optional(appLimits, {}),
});

const scriptLimits = v.strictObject({
	memory: size("64KiB", "1GiB", "16MiB"),
	/** CPU time, by the fuel of a WASM module (docs/initscripts.md). */
	cpu: duration("1ms", "10m", "50ms"),
	/** Wall clock. */
	deadline: duration("1ms", "10m", "10s"),
	/** Bytes of all replies of an instance. */
	results: size("1KiB", "64GiB", "1GiB"),
	rpcs: count(4096, 1024),
	connections: count(1024, 64),
	messages: count(4096, 1024),
	/** Of all its requests and messages. */
	bytes: size("1KiB", "64MiB", "64MiB"),
	/** Of one RPC. */
	rpc_timeout: duration("1ms", "10m", "30s"),
});

/** What identical requests of an initscript's runs may share (docs/initscripts.md, "Sharing"). */
const share = v.strictObject({
	/** Requests that only read, as in [egress]: "GET s3://models/*". */
	allow: v.pipe(v.array(shortText), v.minLength(1), v.maxLength(256)),
	/** How old a reply may be. 0s: only those that ask while it is being fetched share it. */
	ttl: duration("0s", "1h", "0s"),
});

const initscript = v.strictObject({
	/** The source file. With an artifact beside it: what `headstart initscript push` makes that from. */
	main: v.optional(shortText),
	/** "registry/name@sha256:…" or "registry/name:tag", which is pulled in the place of `main`: see docs/images.md. */
	artifact: v.optional(v.pipe(shortText, v.regex(ON_A_REGISTRY, REFERENCE_EXPECTED))),
	on_failure: v.optional(v.picklist(["fallback", "fail"]), "fallback"),
	limits: v.optional(scriptLimits, {}),
	share: v.optional(share),
});

const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535, "a port is at most 65535"));

/** What shows that a service is ready; one of the three. */
const ready = v.pipe(
	v.strictObject({
		/** It accepts a connection there. */
		port: v.optional(port),
		/** There is such a file in its sandbox. */
		file: v.optional(v.pipe(shortText, v.regex(/^\/./, "an absolute path was expected"))),
		/** It has sent its initscript a message with this id. */
		message: v.optional(v.pipe(shortText, v.minLength(1))),
	}),
	v.check((rule) => Object.keys(rule).length === 1, "one of port, file and message was expected"),
);

const SIGNALS = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM"] as const;

/** A program that runs until it is stopped (docs/services.md). */
const service = v.strictObject({
	/** The port of the application that the service's address leads to. */
	port: v.optional(port),
	/** Without it: its port, if it has one. */
	ready: v.optional(ready),
	ready_timeout: duration("1ms", "10m", "30s"),
	restart: v.optional(v.picklist(["never", "on-failure", "always"]), "on-failure"),
	/** In a row, until it is given up. */
	max_restarts: count(1000, 5),
	/** Before the first restart; twice as long before each one that follows it. */
	backoff: duration("1ms", "30s", "100ms"),
	stop_signal: v.optional(v.picklist(SIGNALS), "SIGTERM"),
	/** How long it may take to end by itself. */
	stop_grace: duration("0s", "10m", "10s"),
});

const manifestSchema = v.strictObject({
	name,
	app,
	initscript: v.optional(initscript),
	service: v.optional(service),
	egress: v.optional(
		v.strictObject({ allow: v.optional(v.pipe(v.array(shortText), v.maxLength(256)), []) }),
		{},
	),
	/** Scheme → the store's name in the node's secrets file. */
	secrets: v.optional(v.record(v.pipe(v.string(), v.regex(/^[a-z][a-z0-9]{0,15}$/)), shortText), {}),
});

/** headstart.toml as it is written. */
export type ManifestInput = v.InferInput<typeof manifestSchema>;
/** With defaults filled in; sizes are bytes, durations are milliseconds. */
export type Manifest = v.InferOutput<typeof manifestSchema>;
export type ScriptLimits = v.InferOutput<typeof scriptLimits>;

/** The limits of a function without an initscript: the application's own calls have some, too. */
export const DEFAULT_SCRIPT_LIMITS: ScriptLimits = v.parse(scriptLimits, {});

/** Reads a parsed headstart.toml. Throws `invalidArgument` naming the first wrong value and how to mend it. */
export function parseManifest(input: unknown): Manifest {
	const result = v.safeParse(manifestSchema, input);
	// A key that is not known comes first: what it should have been may be what is missing.
	if (!result.success) throw manifestError(result.issues.find(isUnknownKey) ?? result.issues[0]);
	const manifest = result.output;
	if (manifest.app.isolation === "snapshot") checkSnapshot(manifest);
	if (manifest.app.isolation === "wasm") checkIsolate(manifest);
	else checkProgram(manifest);
	checkFiles(manifest);
	const script = manifest.initscript;
	if (script !== undefined && script.main === undefined && script.artifact === undefined) {
		throw new HeadstartError("invalidArgument", "initscript: neither its main nor its artifact is named");
	}
	return manifest;
}

/** Files count as replies do: an instance that may not have them would never start. */
function checkFiles({ app, initscript }: Manifest): void {
	const sizes = Object.values(app.files).map(({ size }) => size);
	if (sizes.length > 0 && app.isolation !== "gvisor" && app.isolation !== "bubblewrap") {
		throw new HeadstartError(
			"sandboxUnsupported",
			`app.files: there are none in isolation "${app.isolation}"`,
			{ hint: 'Use "gvisor" or "bubblewrap".' },
		);
	}
	const { results } = initscript?.limits ?? DEFAULT_SCRIPT_LIMITS;
	const bytes = sizes.reduce((sum, size) => sum + size, 0);
	if (bytes > results) {
		throw new HeadstartError(
			"invalidArgument",
			`app.files: they have ${bytes} bytes, of which initscript.limits.results allows ${results}`,
		);
	}
}

function checkProgram({ app }: Manifest): void {
	if (app.main !== undefined) {
		throw new HeadstartError("invalidArgument", `app.main is an isolate's, not for "${app.isolation}"`, {
			hint: 'Set isolation = "wasm", or name the program in command.',
		});
	}
	if (app.image === undefined && app.command.length === 0) {
		throw new HeadstartError("invalidArgument", "app.command: the program to run is missing");
	}
}

/** An isolate is modules and nothing else: no program, no network, no port. */
function checkIsolate({ app, service }: Manifest): void {
	if ((app.main === undefined) === (app.image === undefined)) {
		throw new HeadstartError(
			"invalidArgument",
			"app.main: an isolate has a main module, or an image with it, and not both",
		);
	}
	const wrong = [
		app.command.length > 0 && "app.command",
		app.network && "app.network",
		app.preload.length > 0 && "app.preload",
		service !== undefined && "service",
	].find((part) => part !== false);
	if (wrong !== undefined) {
		throw new HeadstartError("invalidArgument", `${wrong}: an isolate has none`, {
			hint: 'Use isolation "gvisor" or "bubblewrap" for it.',
		});
	}
}

/** What goes on from a snapshot has neither a network of its own nor a port: it reaches the world by the bridge. */
function checkSnapshot({ app, service }: Manifest): void {
	const wrong = [
		app.network && "app.network",
		app.preload.length > 0 && "app.preload",
		service !== undefined && "service",
	].find((part) => part !== false);
	if (wrong !== undefined) {
		throw new HeadstartError("invalidArgument", `${wrong}: a function with snapshots has none`, {
			hint: 'Use isolation "gvisor" or "bubblewrap" for it.',
		});
	}
}

function isUnknownKey(issue: v.BaseIssue<unknown>): boolean {
	return issue.type === "strict_object" && issue.expected === "never";
}

function manifestError(issue: v.BaseIssue<unknown>): HeadstartError {
	const path = v.getDotPath(issue) ?? "headstart.toml";
	if (isUnknownKey(issue)) {
		const known = knownKeys(issue.path?.slice(0, -1).map((item) => String(item.key)) ?? []);
		const key = String(issue.path?.at(-1)?.key ?? "");
		const similar = nearest(key, known);
		const hint =
			similar === undefined ? `Known keys here: ${known.join(", ")}.` : `Did you mean "${similar}"?`;
		return new HeadstartError("invalidArgument", `unknown key ${path}`, { hint });
	}
	if (issue.type === "strict_object" && issue.received === "undefined") {
		return new HeadstartError("invalidArgument", `${path} is missing`);
	}
	return new HeadstartError("invalidArgument", `${path}: ${issue.message}`);
}

/** The keys that the table at a path may have. */
function knownKeys(path: string[]): string[] {
	let at: unknown = manifestSchema;
	for (const key of path) at = unwrap(entriesOf(at)[key] ?? valuesOf(at));
	return Object.keys(entriesOf(at));
}

function entriesOf(schema: unknown): Record<string, unknown> {
	if (typeof schema !== "object" || schema === null || !("entries" in schema)) return {};
	return { ...(schema.entries as Record<string, unknown>) };
}

/** What each value of a table with free keys is. */
function valuesOf(schema: unknown): unknown {
	return typeof schema === "object" && schema !== null && "value" in schema ? schema.value : undefined;
}

function unwrap(schema: unknown): unknown {
	return typeof schema === "object" && schema !== null && "wrapped" in schema ? schema.wrapped : schema;
}
