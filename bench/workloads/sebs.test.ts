import { expect, it } from "vitest";
import type { TraceEvent } from "../../src/shared/record.ts";
import { partOf } from "../evaluation/python-layers.ts";
import { packagesOf } from "./functions.ts";
import { WORKLOADS } from "./index.ts";
import { loadOf, startOf } from "./sebs.ts";

const ms = 1e6;
const ready = (at: number): TraceEvent => ({ kind: "mark", text: "inputs ready", at });

it("a function starts when it was last given what it asked for", () => {
	const events: TraceEvent[] = [
		{ kind: "received", at: 1 * ms },
		{ kind: "started", at: 2 * ms },
		{ kind: "invocationTaken", at: 100 * ms },
		ready(120 * ms),
		ready(180 * ms),
		{ kind: "answerEnded", at: 900 * ms },
	];
	expect(startOf(events)).toEqual({ zero: 1 * ms, end: 180 * ms });
	expect(startOf(events.slice(1, 3))).toEqual({ zero: 2 * ms, end: 100 * ms });
});

it("its load is what it did with bytes that were there", () => {
	const events: TraceEvent[] = [
		{ kind: "invocationTaken", at: 100 * ms },
		{ kind: "served", at: 101 * ms },
		{ kind: "rpcDone", at: 150 * ms },
		ready(152 * ms),
		{ kind: "served", at: 160 * ms },
		ready(163 * ms),
	];
	expect(loadOf(events)).toBe(5);
});

it("functions that need the same packages have one image, in layers", () => {
	expect(packagesOf("# no-deps: of those\nSquiggle==0.3.1\nnumpy==2.4.6\n\n")).toEqual(["squiggle", "numpy"]);
	const paths = {
		"usr/lib/python3.11/json/__init__.py": "interpreter",
		"usr/lib/python3.11/json/__pycache__/decoder.cpython-311.pyc": "byte code",
		"usr/bin/python3.11": "interpreter",
		"usr/lib/x86_64-linux-gnu/libc.so.6": "libraries",
		"usr/local/lib/python3.11/dist-packages/numpy/__pycache__/a.pyc": "packages",
	};
	for (const [path, part] of Object.entries(paths)) expect(partOf(path)).toBe(part);
});

it("all workloads have names and rows of their own, and the arms that these compare", () => {
	const names = WORKLOADS.map(({ name }) => name);
	expect(new Set(names).size).toBe(names.length);
	const rows = WORKLOADS.flatMap(({ rows, limits = [] }) => [...rows, ...limits].map(({ name }) => name));
	expect(new Set(rows).size).toBe(rows.length);
	for (const { rows, arms, limits = [] } of WORKLOADS) {
		for (const row of rows) expect(arms).toEqual(expect.arrayContaining(["without", row.with ?? "with"]));
		for (const { arm } of limits) expect(arms).toContain(arm);
	}
});
