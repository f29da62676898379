/** What an initscript's isolate has beside the language. There is no network: `fetch` and the like always fail. */

/** Its lines go to the instance's log. */
declare const console: {
	debug(...values: unknown[]): void;
	log(...values: unknown[]): void;
	info(...values: unknown[]): void;
	warn(...values: unknown[]): void;
	error(...values: unknown[]): void;
};

declare function setTimeout(callback: (value?: unknown) => void, milliseconds?: number): number;
declare function clearTimeout(timer: number): void;

declare class TextEncoder {
	encode(text: string): Uint8Array;
}
declare class TextDecoder {
	constructor(encoding?: string, options?: { fatal?: boolean });
	decode(bytes: Uint8Array): string;
}
