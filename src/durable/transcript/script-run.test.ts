import { expect, test } from "vitest";
import type { ScriptExit } from "../../isolates/protocol.ts";
import { HeadstartError } from "../../shared/error.ts";
import { ScriptHost, type ScriptPort } from "./host-api.ts";
import { type Download, type RunnerBinding, runScript, type ScriptEnd } from "./script-run.ts";

const EXIT: ScriptExit = { ops: [], end: "exit", status: 0 };

/** Runs a script whose runner does this, call by call: "dies", "unknown" (it has no such script), "waits" for one that does not come, or what it answers. */
async function run(
	calls: { load: (object | "dies")[]; run: (object | "dies" | "unknown" | "waits")[] },
	mayRestart = true,
	download?: Download,
): Promise<{ end: ScriptEnd; restarts: number; unloads: number }> {
	let [restarts, unloads] = [0, 0];
	const next = (answers: (object | string)[]): Promise<never> => {
		const answer = answers.shift();
		if (answer instanceof Error) return Promise.reject(answer);
		if (answer === "waits") return new Promise(() => {});
		if (answer === "dies" || answer === undefined)
			return Promise.reject(new Error("Network connection lost."));
		const unknown = { error: { code: "unknownModule", message: "it is not loaded" } };
		return Promise.resolve((answer === "unknown" ? unknown : answer) as never);
	};
	const runner: RunnerBinding = {
		load: () => next(calls.load),
		unload: async () => {
			unloads += 1;
		},
		run: () => next(calls.run),
		answers: () => Promise.resolve(true),
	};
	const end = await runScript(runner, new ScriptHost({} as ScriptPort), {
		script: { module: { format: "wasm", digest: "a", bytes: new Uint8Array() } },
		...(download && { download }),
		input: new Uint8Array(),
		limits: { deadlineMs: 5000, memoryBytes: 1 << 20, cpuMs: 100 },
		sourceMap: () => Promise.resolve(undefined),
		mayRestart: () => mayRestart,
		restart: () => {
			restarts += 1;
		},
		blame: () => Promise.resolve(undefined),
	});
	return { end, restarts, unloads };
}

const done = { end: { ops: [], end: "exit 0" }, unloads: 0 };

test("a script that the runner does not have is given to it", async () => {
	expect(await run({ run: ["unknown", { ok: EXIT }], load: [{ ok: {} }] })).toEqual({ ...done, restarts: 0 });
});

test("a runner that dies while it takes the script costs no more than one that dies while it runs it", async () => {
	expect(await run({ run: ["unknown", { ok: EXIT }], load: ["dies", { ok: {} }] })).toEqual({
		...done,
		restarts: 1,
	});
	expect(await run({ run: ["dies", { ok: EXIT }], load: [{ ok: {} }] })).toEqual({ ...done, restarts: 1 });
});

test("a second death is the end, and so is one of a script that may not be run again", async () => {
	const lost = { end: "runnerLost", error: { code: "runnerLost" } };
	expect(await run({ run: ["unknown"], load: ["dies", "dies"] })).toMatchObject({ end: lost, restarts: 1 });
	expect(await run({ run: ["dies"], load: [] }, false)).toMatchObject({ end: lost, restarts: 0 });
});

test("a runner that refuses a script is not asked again", async () => {
	const refused = { error: { code: "invalidArgument", message: "no module" } };
	const error = { code: "invalidArgument", message: "no module" };
	expect(await run({ run: ["unknown"], load: [refused] })).toMatchObject({ end: { error }, restarts: 0 });
	const none = new HeadstartError("tooMany", "no slot");
	expect(await run({ run: ["unknown"], load: [none] })).toMatchObject({
		end: { error: { code: "tooMany" } },
	});
	const malformed = await run({ run: ["unknown"], load: [{ error: 7 }] });
	expect(malformed).toMatchObject({ end: { error: { code: "runnerLost" } }, restarts: 0 });
});

test("a script that is downloaded runs in the runner that the bridge hands it to", async () => {
	const module = { format: "wasm", digest: "a", bytes: new Uint8Array() } as const;
	const toHost = (): Promise<typeof module> => Promise.resolve(module);
	const taken = { toRunner: () => Promise.resolve(undefined), toHost };
	expect(await run({ run: [{ ok: EXIT }], load: [] }, true, taken)).toEqual({ ...done, restarts: 0 });
	// The next runner gets it from the host.
	expect(await run({ run: ["dies", { ok: EXIT }], load: [{ ok: {} }] }, true, taken)).toEqual({
		...done,
		restarts: 1,
	});
	const refused = { error: { code: "invalidArgument", message: "no module" } };
	const notTaken = { toRunner: () => Promise.resolve(module), toHost };
	const waiting = await run({ run: ["waits"], load: [refused] }, true, notTaken);
	expect(waiting).toMatchObject({ end: { error: refused.error }, restarts: 0 });
});

test("a script that cannot be downloaded has failed, and nobody waits for it", async () => {
	const gone = (): Promise<never> => Promise.reject(new HeadstartError("imagePullFailed", "no registry"));
	const failed = await run({ run: ["waits"], load: [] }, true, { toRunner: gone, toHost: gone });
	expect(failed).toMatchObject({ end: { error: { code: "imagePullFailed" } }, restarts: 0, unloads: 1 });
});
