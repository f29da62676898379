/**
 * The code that the meter adds.
 *
 * The counter must not wrap around between two looks at it. A module of 1 MiB (MAX_MODULE_BYTES) has code for less than 2^27
 * fuel, however dense; a function with many locals looks where it charges them, and a bulk instruction, which takes 2^30
 * at most, looks itself; and the host takes it no lower than -2^29.
 */
import type { Space } from "./space.ts";
import type { Writer } from "./writer.ts";

/** Charges what the length of a bulk instruction costs, and gives that length back. */
export type Helper = "bytes" | "elements" | "pages";

const LOCAL_GET = 0x20;
const GLOBAL_GET = 0x23;
const GLOBAL_SET = 0x24;
const I32_CONST = 0x41;
const I32_LT_S = 0x48;
const I32_LE_U = 0x4d;
const I32_ADD = 0x6a;
const I32_SUB = 0x6b;
const I32_SHL = 0x74;
const I32_SHR_U = 0x76;
const SELECT = 0x1b;
const [IF, EMPTY, CALL, END] = [0x04, 0x40, 0x10, 0x0b];

/** A fuel copies or fills four bytes; a page of memory takes as much as filling it. As powers of two. */
const BYTES_SHIFT = 2;
const PAGE_SHIFT = 14;
/** A table's element takes 128 fuel. */
const ELEMENT_SHIFT = 7;
/** What asking for memory costs, whatever comes of it. */
const GROW = 4_000;
/** Entries of the largest table (MAX_TABLE_ENTRIES). */
const ELEMENTS = 65_536;

/** Takes `cost` of the fuel; checked, it asks for more when there is none left. */
export function writeCharge(out: Writer, space: Space, cost: number, checked: boolean): void {
	take(out, space, () => constant(out, cost));
	if (checked) writeCheck(out, space);
}

/** A helper's body: (length) → the same length. */
export function writeHelper(out: Writer, space: Space, helper: Helper): void {
	out.u32(0); // no locals
	take(out, space, () => {
		switch (helper) {
			case "bytes":
				out.bytes([LOCAL_GET, 0]);
				constant(out, BYTES_SHIFT);
				out.byte(I32_SHR_U);
				break;
			case "elements":
				bounded(out, ELEMENTS);
				constant(out, ELEMENT_SHIFT);
				out.byte(I32_SHL);
				break;
			case "pages":
				bounded(out, space.pages);
				constant(out, PAGE_SHIFT);
				out.byte(I32_SHL);
				constant(out, GROW);
				out.byte(I32_ADD);
				break;
		}
	});
	writeCheck(out, space);
	out.bytes([LOCAL_GET, 0, END]);
}

/** The length, or 0 when it is more than there can be: then the instruction fails at once. */
function bounded(out: Writer, most: number): void {
	out.bytes([LOCAL_GET, 0]);
	constant(out, 0);
	out.bytes([LOCAL_GET, 0]);
	constant(out, most);
	out.bytes([I32_LE_U, SELECT]);
}

function take(out: Writer, space: Space, amount: () => void): void {
	out.byte(GLOBAL_GET);
	out.u32(space.fuel);
	amount();
	out.bytes([I32_SUB, GLOBAL_SET]);
	out.u32(space.fuel);
}

function writeCheck(out: Writer, space: Space): void {
	out.byte(GLOBAL_GET);
	out.u32(space.fuel);
	constant(out, 0);
	out.bytes([I32_LT_S, IF, EMPTY, CALL]);
	out.u32(space.refill);
	out.byte(END);
}

function constant(out: Writer, value: number): void {
	out.byte(I32_CONST);
	out.s32(value);
}
