import { expect, it } from "vitest";
import type { TraceEvent } from "../../src/shared/record.ts";
import { waterfall } from "./waterfall.ts";

const ms = 1e6;
const events: TraceEvent[] = [
	{ kind: "started", at: 2 * ms },
	{ kind: "imagePulled", at: 50 * ms },
	{ kind: "imageUnpacked", at: 60 * ms },
	{ kind: "sandboxCreated", at: 70 * ms },
	{ kind: "initscriptPulled", at: 30 * ms, nanos: 26 * ms },
	{ kind: "rpcAccepted", at: 31 * ms },
	{ kind: "noted", text: "initscript ended: exit 0", at: 40 * ms },
	{ kind: "rpcDone", at: 90 * ms },
	{ kind: "rpcDone", at: 120 * ms },
	{ kind: "appConnected", at: 130 * ms },
	{ kind: "mark", text: "ready: on 7000", at: 150 * ms },
	{ kind: "sandboxExited", at: 900 * ms },
];

it("is what each side did until the start was over, in milliseconds from the request", () => {
	const parts = [
		{ name: "boot", from: { kind: "sandboxCreated" }, to: { kind: "appConnected" } },
		{ name: "ready", from: { kind: "appConnected" }, to: { mark: "ready: " } },
		{ name: "never", from: { mark: "ready: " }, to: { mark: "nothing" } },
	];
	expect(waterfall(events, ms, 150 * ms, parts)).toEqual([
		{ lane: "setup", name: "route", begin: 0, end: 1 },
		{ lane: "setup", name: "pull", begin: 1, end: 49 },
		{ lane: "setup", name: "unpack", begin: 49, end: 59 },
		{ lane: "setup", name: "sandbox", begin: 59, end: 69 },
		{ lane: "app", name: "boot", begin: 69, end: 129 },
		{ lane: "app", name: "ready", begin: 129, end: 149 },
		{ lane: "script", name: "download", begin: 3, end: 29 },
		{ lane: "script", name: "start", begin: 29, end: 30 },
		{ lane: "script", name: "RPCs", begin: 30, end: 119 },
		{ lane: "script", name: "done", begin: 39, end: 39 },
	]);
});

it("shows no pull of an image that was there, and nothing behind the start's end", () => {
	const present = events.filter(({ kind }) => !kind.startsWith("image"));
	const names = waterfall(present, 0, 20 * ms).map(({ name, end }) => [name, end]);
	expect(names).toEqual([
		["route", 2],
		["sandbox", 20],
		["download", 20],
	]);
});
