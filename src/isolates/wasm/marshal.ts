/**
 * Between a module's numbers and the values of its calls. Every pointer and length is the module's word and is checked
 * here: what lies outside of its memory is `invalidArgument`, never a fault of the runner.
 */
import { errorNumbers } from "../generated/signatures.ts";
import { ScriptFailure } from "../script/failure.ts";
import { limits } from "../script/limits.ts";
import type { Filled } from "../script/session.ts";
import { CALL_FUEL } from "./fuel.ts";
import { jspi } from "./jspi.ts";

export type { Filled };

export class Marshal {
	#memory: WebAssembly.Memory | undefined;
	readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
	readonly #charge: (fuel: number) => void;

	/** @param charge is told what a call takes of the module's fuel. */
	constructor(charge: (fuel: number) => void) {
		this.#charge = charge;
	}

	/** The instance's memory; there is none while it is being instantiated. */
	attach(memory: WebAssembly.Memory): void {
		this.#memory = memory;
	}

	/** An import that answers at once. */
	call<A extends (number | bigint)[]>(body: (...args: A) => number): (...args: A) => number {
		return (...args) => {
			this.#charge(CALL_FUEL);
			try {
				return body(...args);
			} catch (thrown) {
				return failed(thrown);
			}
		};
	}

	/** An import that suspends the module. */
	blocking(body: (...args: never[]) => Promise<number>): WebAssembly.ImportValue {
		return new jspi.Suspending((...args) => {
			this.#charge(CALL_FUEL);
			return body(...args).catch(failed);
		});
	}

	u32(value: number): number {
		return value >>> 0;
	}

	u64(value: bigint): bigint {
		return BigInt.asUintN(64, value);
	}

	/** A count or handle as an import's result. */
	count(value: number): number {
		return Math.min(value, 0x7fffffff);
	}

	/** Throws unless [pointer, pointer + length) lies in the memory. */
	check(pointer: number, length: number): void {
		const start = pointer >>> 0;
		const end = start + (length >>> 0);
		const size = this.#memory?.buffer.byteLength ?? 0;
		if (end > size) {
			throw new ScriptFailure(
				"invalidArgument",
				`bytes ${start} to ${end} lie outside of the module's memory of ${size} bytes`,
			);
		}
	}

	view(pointer: number, length: number): DataView {
		this.check(pointer, length);
		return new DataView(this.#buffer(), pointer >>> 0, length >>> 0);
	}

	/** A copy of the module's bytes. */
	data(pointer: number, length: number): Uint8Array {
		this.#checkSize(length);
		return this.#bytes(pointer, length).slice();
	}

	/** UTF-8 text; anything else is `invalidArgument`. */
	text(pointer: number, length: number): string {
		this.#checkSize(length);
		try {
			return this.#decoder.decode(this.#bytes(pointer, length));
		} catch (thrown) {
			if (thrown instanceof ScriptFailure) throw thrown;
			throw new ScriptFailure("invalidArgument", "the text is not UTF-8");
		}
	}

	/** Copies what fits, and gives the whole length. */
	fill(pointer: number, capacity: number, { bytes, length }: Filled): number {
		const count = Math.min(bytes.byteLength, capacity >>> 0);
		this.#bytes(pointer, count).set(bytes.subarray(0, count));
		return this.count(length);
	}

	/** An AssemblyScript string: UTF-16, its length in bytes before it. Empty when it cannot be read. */
	assemblyScriptText(pointer: number): string {
		try {
			const length = this.view((pointer >>> 0) - 4, 4).getUint32(0, true);
			const bytes = this.#bytes(pointer, Math.min(length, 2 * limits.messageCharacters));
			return new TextDecoder("utf-16le").decode(bytes);
		} catch {
			return "";
		}
	}

	#bytes(pointer: number, length: number): Uint8Array {
		this.check(pointer, length);
		this.#charge(length >>> 0);
		return new Uint8Array(this.#buffer(), pointer >>> 0, length >>> 0);
	}

	#buffer(): ArrayBuffer {
		return this.#memory?.buffer ?? new ArrayBuffer(0);
	}

	#checkSize(length: number): void {
		if (length >>> 0 > limits.requestBytes) {
			throw new ScriptFailure(
				"payloadTooLarge",
				`${length >>> 0} bytes: a request, message or text has at most ${limits.requestBytes}`,
			);
		}
	}
}

/** A call's own failure is a number for the module; anything else unwinds it. */
function failed(thrown: unknown): number {
	if (!(thrown instanceof ScriptFailure)) throw thrown;
	return -(errorNumbers.get(thrown.code) ?? errorNumbers.get("internal") ?? 1);
}
