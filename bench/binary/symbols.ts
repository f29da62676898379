/** What a program is made of: its symbols by crate, and its sections, as binutils tell of them. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const LONG = { maxBuffer: 256 << 20 };

export interface Symbols {
	/** Bytes of code and data by crate; those of no crate are by what their names begin with, "C:ring". */
	crates: ReadonlyMap<string, number>;
	/** Bytes by section, those that stay in a stripped program. */
	sections: ReadonlyMap<string, number>;
	/** Bytes of the stripped program. */
	stripped: number;
}

/** Of a program that still has its symbols. */
export async function symbolsOf(program: string): Promise<Symbols> {
	const [names, sections, stripped] = await Promise.all([
		run("nm", ["-S", "-C", "--defined-only", program], LONG),
		run("size", ["-A", program], LONG),
		strippedSize(program),
	]);
	return { crates: cratesOf(names.stdout), sections: sectionsOf(sections.stdout), stripped };
}

async function strippedSize(program: string): Promise<number> {
	const folder = await mkdtemp(join(tmpdir(), "hsb-strip-"));
	try {
		const copy = join(folder, "program");
		await run("strip", ["-o", copy, program]);
		return (await stat(copy)).size;
	} finally {
		await rm(folder, { recursive: true, force: true });
	}
}

const STANDARD = new Set(["core", "alloc", "std"]);

/**
 * The crate that a demangled symbol counts for: the first that is named in it, for a generic function of the standard library is there
 * because of the crate that it was made for.
 *
 * @example crateOf("core::ptr::drop_in_place<clap_builder::Arg>") // "clap_builder"
 */
export function crateOf(name: string): string {
	const roots = [...name.matchAll(/(?<![\w:])([A-Za-z_]\w*)::/g)].flatMap(([, root]) => root ?? []);
	const own = roots.find((root) => !STANDARD.has(root));
	if (own !== undefined) return own;
	if (roots.length > 0) return /backtrace|panick|unwind/.test(name) ? "unwinding" : "std";
	return `C:${/^[A-Za-z]*/.exec(name.replace(/^_+/, ""))?.[0] ?? ""}`;
}

/** Sums up what `nm -S -C` prints. */
export function cratesOf(text: string): Map<string, number> {
	const crates = new Map<string, number>();
	for (const line of text.split("\n")) {
		const [, bytes, name] = /^[0-9a-f]+ ([0-9a-f]+) [tTrRdDvVwW] (.*)$/.exec(line) ?? [];
		if (bytes === undefined || name === undefined) continue;
		const crate = crateOf(name);
		crates.set(crate, (crates.get(crate) ?? 0) + Number.parseInt(bytes, 16));
	}
	return crates;
}

/** What `size -A` prints, without what a stripped program does not have. */
export function sectionsOf(text: string): Map<string, number> {
	const lines = [...text.matchAll(/^(\.\S+)\s+(\d+)\s+(\d+)$/gm)];
	return new Map(
		lines.flatMap(([, name = "", bytes, address]) =>
			address === "0" || /^\.(t?bss|debug|relro_padding)/.test(name) ? [] : [[name, Number(bytes)] as const],
		),
	);
}
