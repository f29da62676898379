import type { Log } from "../durable/log.ts";
import type { Registry } from "../durable/registry.ts";
import type { Services } from "../durable/services.ts";
import type { Transcript } from "../durable/transcript.ts";
import type { RunnerService } from "../isolates/protocol.ts";

export type Runner = Fetcher & RunnerService;
export type RunnerName = `RUNNER_${number}`;

/** The host's bindings (wrangler.toml; src/cli/node/config.ts). */
export interface Env {
	/** The bridge's socket: HTTP, and CONNECT for the Cap'n Proto stream. */
	BRIDGE: Fetcher;
	/** The runners, through the bridge's relays: RUNNER_0, RUNNER_1, … */
	[runner: RunnerName]: Runner;
	TRANSCRIPT: DurableObjectNamespace<Transcript>;
	REGISTRY: DurableObjectNamespace<Registry>;
	LOG: DurableObjectNamespace<Log>;
	SERVICES: DurableObjectNamespace<Services>;
	/** "1": a request without a token is the operator's, for the tenant "default". */
	DEVELOPMENT?: string;
	/** Hex SHA-256 of the operator's token. */
	OPERATOR_TOKEN_HASH?: string;
	/** "1": records of instances hold all that their transcripts decided on, for tests. */
	RECORD_INPUTS?: string;
}
