/** Modules that only exist in a script's own isolate, and the texts of the two that are ours. */
declare module "script.js" {
	const main: unknown;
	export default main;
}

declare module "headstart" {
	export const NO_MAIN: string;
	export interface ScriptModule {
		default?: unknown;
	}
	export function runScript(
		load: () => Promise<ScriptModule>,
		input: Uint8Array,
		host: import("../protocol.ts").HostApi,
	): Promise<import("../protocol.ts").ScriptExit>;
}

declare module "isolate:headstart" {
	const source: string;
	export default source;
}

declare module "isolate:shim" {
	const source: string;
	export default source;
}
