/** What the bridge gives an isolate (native-bridge/sandbox/src/isolate.rs). */
import { env } from "cloudflare:workers";

interface Bindings {
	/** HTTP to the bridge, by a socket that is this instance's own (docs/wasm.md). */
	readonly BRIDGE: Fetcher;
	/** headstart.toml's `[app] env`. */
	readonly ENV: Readonly<Record<string, string>>;
}

export const bindings = env as unknown as Bindings;
