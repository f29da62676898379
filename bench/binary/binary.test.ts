import { expect, it } from "vitest";
import { components, EXCEPTIONS, MISC, OTHER_CRATES, STANDARD_LIBRARY } from "./components.ts";
import { printBinary } from "./print.ts";
import { crateOf, cratesOf, sectionsOf } from "./symbols.ts";

it.each([
	["core::ptr::drop_in_place<clap_builder::Arg>", "clap_builder"],
	["<alloc::vec::Vec<T> as core::clone::Clone>::clone", "std"],
	["<vecdb::Database as headstart_serving::Service>::serve", "vecdb"],
	["std::backtrace_rs::symbolize::gimli::resolve", "unwinding"],
	["std::sys::pal::unix::thread::Thread::new", "std"],
	["ring_core_0_17_14__bn_mul_mont", "C:ring"],
])("%s counts for %s", (name, crate) => {
	expect(crateOf(name)).toBe(crate);
});

it("sums up code and data by crate", () => {
	const text = [
		"0000000000010000 0000000000000010 t vecdb::main",
		"0000000000010010 0000000000000020 T core::fmt::write",
		"0000000000010030 0000000000000030 b vecdb::BUFFER",
		"0000000000010060 0000000000000008 r vecdb::TABLE",
	].join("\n");
	expect([...cratesOf(text)]).toEqual([
		["vecdb", 24],
		["std", 32],
	]);
});

it("takes the sections that a stripped program has", () => {
	const text = [
		"program  :",
		"section      size      addr",
		".text         100      4096",
		".eh_frame      30      8192",
		".bss           50     12288",
		".debug_info   999         0",
	].join("\n");
	expect([...sectionsOf(text)]).toEqual([
		[".text", 100],
		[".eh_frame", 30],
	]);
});

it("gives components that sum up to the program", () => {
	const crates = new Map([
		["vecdb", 10],
		["serde_json", 5],
		["serde", 2],
		["std", 20],
		["gimli", 4],
		["itself", 1],
	]);
	const found = components(
		{ crates, sections: new Map([[".eh_frame", 8]]), stripped: 60 },
		{ Application: ["vecdb"], JSON: ["serde*"], Nothing: ["none"] },
	);
	expect(found).toEqual([
		{ name: "Application", bytes: 10 },
		{ name: "JSON", bytes: 7 },
		{ name: "Nothing", bytes: 0 },
		{ name: STANDARD_LIBRARY, bytes: 20 },
		{ name: EXCEPTIONS, bytes: 12 },
		{ name: OTHER_CRATES, bytes: 1 },
		{ name: MISC, bytes: 10 },
	]);
});

it("prints both columns where there is an initscript", () => {
	const printed = printBinary({
		table: "table5",
		title: "Table 5",
		total_bytes: 2_000_000,
		components: [
			{ name: "Marshaling", bytes: 0, initscript_bytes: 3800 },
			{ name: "TLS", bytes: 1_200_000 },
		],
		initscript_bytes: 3800,
		paper: { total_kb: 1875, initscript_kb: 155 },
	});
	expect(printed.split("\n").slice(4)).toEqual([
		"Marshaling                                3.8",
		"TLS                    1200.0",
		"total                  2000.0             3.8",
		"the paper’s total        1875             155",
	]);
});
