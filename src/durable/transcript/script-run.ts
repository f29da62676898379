/** Runs an initscript in the runner to its end, whatever happens to the runner. */
import type {
	Outcome,
	RunnerService,
	ScriptExit,
	ScriptLimits,
	ScriptModule,
	ScriptOp,
} from "../../isolates/protocol.ts";
import { type ErrorValue, HeadstartError } from "../../shared/error.ts";
import type { DeployedScript } from "../../shared/function.ts";
import type { ScriptHost } from "./host-api.ts";
import { mapStack } from "./stack.ts";
import { errorValue, parseLoad, parseRun } from "./validate.ts";

/** How long after a script's own deadline the runner may take to say so. */
const GRACE_MS = 1000;
/** How long is waited for the next runner, and how often it is asked. */
const RUNNER_BACK_MS = 3000;
const RUNNER_ASK_MS = 25;

/** The tenant's runner: its entrypoint, and whether it answers now. */
export interface RunnerBinding extends Pick<RunnerService, "load" | "unload"> {
	run(spec: Parameters<RunnerService["run"]>[0], host: ScriptHost): ReturnType<RunnerService["run"]>;
	answers(): Promise<boolean>;
}

/** How a script gets to a runner that is to have it from its registry, and from nowhere else. */
export interface Download {
	/**
	 * Has the bridge hand it to the runner as soon as it is there. Gives it where that has not worked, and throws where it cannot be
	 * had.
	 */
	toRunner: () => Promise<ScriptModule | undefined>;
	/** Gives it. */
	toHost: () => Promise<ScriptModule>;
}

export interface ScriptRunSpec {
	/** Asked where there is a stack to be shown. */
	sourceMap: () => Promise<string | undefined>;
	script: DeployedScript;
	/** In the place of the script that is here. */
	download?: Download;
	input: Uint8Array;
	limits: ScriptLimits;
	/** Whether the script may be run again from its beginning. */
	mayRestart: () => boolean;
	/** It is going to be. */
	restart: () => void;
	/** The error of a script that ended its runner, asked when that has ended; undefined for any other. */
	blame: () => Promise<ErrorValue | undefined>;
}

export interface ScriptEnd {
	/** Its last calls, to be applied before its end. */
	ops: ScriptOp[];
	/** "exit 0", "trap", or the code of what ended it. */
	end: string;
	error?: ErrorValue;
	stack?: string;
}

/** Never rejects. The call to the runner leaves before this returns, and the download's before it. */
export async function runScript(
	runner: RunnerBinding,
	host: ScriptHost,
	spec: ScriptRunSpec,
): Promise<ScriptEnd> {
	let timer: ReturnType<typeof setTimeout> | null = null;
	const late = new Promise<ScriptEnd>((resolve) => {
		timer = setTimeout(() => {
			const message = `the initscript had not ended after ${spec.limits.deadlineMs} ms`;
			resolve(failed({ code: "initscriptDeadline", message }));
		}, spec.limits.deadlineMs + GRACE_MS);
	});
	try {
		return await Promise.race([attempt(runner, host, spec), late]);
	} catch (thrown) {
		return failed(HeadstartError.from(thrown, "runnerLost").value());
	} finally {
		clearTimeout(timer);
	}
}

async function attempt(runner: RunnerBinding, host: ScriptHost, spec: ScriptRunSpec): Promise<ScriptEnd> {
	const { script, input, limits, download } = spec;
	const { digest } = script.module;
	const run = (): Promise<unknown> => runner.run({ digest, input, limits }, host);
	const loadAndRun = async (): Promise<Outcome<ScriptExit> | undefined> => {
		const taken = await loaded(runner, download ? await download.toHost() : script.module);
		return taken !== undefined && "ok" in taken ? parsed(run()) : taken;
	};
	let outcome = await (download === undefined ? parsed(run()) : runAwaited(runner, host, spec, download));
	if (needsLoading(outcome)) outcome = await loadAndRun();
	if (outcome === undefined) {
		await runnerBack(runner);
		const own = await spec.blame();
		if (own !== undefined) return failed(own);
		if (spec.mayRestart()) {
			// The runner died of something else, and the script has done nothing that must not be done twice.
			spec.restart();
			outcome = await loadAndRun();
		}
	}
	if (outcome === undefined) {
		await runnerBack(runner);
		return failed((await spec.blame()) ?? LOST);
	}
	return "error" in outcome ? failed(errorValue(outcome.error)) : ended(outcome.ok, spec.sourceMap);
}

/** Runs a script that the runner gets meanwhile. undefined when the runner was lost. */
async function runAwaited(
	runner: RunnerBinding,
	host: ScriptHost,
	{ script, input, limits }: ScriptRunSpec,
	{ toRunner }: Download,
): Promise<Outcome<ScriptExit> | undefined> {
	const { digest } = script.module;
	const coming = toRunner();
	const run = parsed(runner.run({ digest, input, limits, awaited: true }, host));
	try {
		return await Promise.race([run, missed(runner, coming)]);
	} catch (thrown) {
		// Nothing comes, and the run need not wait for it.
		runner.unload(digest).catch(() => undefined);
		throw thrown;
	}
}

/** Settles where the bridge could not hand the script over, and the runner does not take it from here either. */
async function missed(
	runner: RunnerBinding,
	coming: Promise<ScriptModule | undefined>,
): Promise<Outcome<never> | undefined> {
	const module = await coming;
	const taken = module && (await loaded(runner, module));
	if (module !== undefined && taken === undefined) return undefined;
	return taken !== undefined && "error" in taken ? taken : new Promise(() => {});
}

const LOST: ErrorValue = { code: "runnerLost", message: "the runner died while the initscript ran" };

function needsLoading(outcome: Outcome<ScriptExit> | undefined): boolean {
	return outcome !== undefined && "error" in outcome && outcome.error.code === "unknownModule";
}

/** Gives the runner the module; the error says why it did not take it. undefined when the runner was lost. */
async function loaded(runner: RunnerBinding, module: ScriptModule): Promise<Outcome<true> | undefined> {
	let answer: unknown;
	try {
		answer = await runner.load(module);
	} catch (thrown) {
		return thrown instanceof HeadstartError ? { error: thrown.value() } : undefined;
	}
	try {
		const refused = parseLoad(answer);
		return refused === undefined ? { ok: true } : { error: refused };
	} catch (thrown) {
		const message = `the runner did not take the initscript: ${HeadstartError.from(thrown).message}`;
		return { error: { code: "runnerLost", message } };
	}
}

/** Waits until a runner answers, or long enough. */
export async function runnerBack(runner: Pick<RunnerBinding, "answers">): Promise<void> {
	for (const until = Date.now() + RUNNER_BACK_MS; Date.now() < until; ) {
		await new Promise((resolve) => setTimeout(resolve, RUNNER_ASK_MS));
		if (await runner.answers().catch(() => false)) return;
	}
}

/** undefined when the runner was lost. */
async function parsed(call: Promise<unknown>): Promise<Outcome<ScriptExit> | undefined> {
	let answer: unknown;
	try {
		answer = await call;
	} catch {
		return undefined;
	}
	try {
		return parseRun(answer);
	} catch (thrown) {
		const message = `the runner's answer is malformed: ${HeadstartError.from(thrown).message} was expected`;
		return { error: { code: "protocol", message } };
	}
}

async function ended(exit: ScriptExit, sourceMap: ScriptRunSpec["sourceMap"]): Promise<ScriptEnd> {
	if (exit.end === "exit") {
		const end = `exit ${exit.status}`;
		if (exit.status === 0) return { ops: exit.ops, end };
		const message = `the initscript ended with status ${exit.status}`;
		return { ops: exit.ops, end, error: { code: "initscriptFailed", message } };
	}
	const map = exit.stack === undefined ? undefined : await sourceMap().catch(() => undefined);
	const stack = exit.stack === undefined ? {} : { stack: mapStack(exit.stack, map) };
	return { ops: exit.ops, end: exit.end, error: errorValue(exit.error), ...stack };
}

function failed(error: ErrorValue): ScriptEnd {
	return { ops: [], end: error.code, error };
}
