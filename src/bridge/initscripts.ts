/** Initscripts that are artifacts of a registry: what one is, and its bytes. */
import * as v from "valibot";
import type { ScriptModule } from "../isolates/protocol.ts";
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import type { ScriptArtifact } from "../shared/function.ts";
import { bridgeError } from "./http-error.ts";

/** An artifact as its registry has it. */
export interface FoundScript {
	artifact: ScriptArtifact;
	/** The layer that is said to be the same module with its meter. */
	metered: Pick<ScriptArtifact, "digest" | "bytes" | "embedded"> | undefined;
	/** [initscript.limits] that it was made for, as headstart.toml would say them; nobody has looked into them. */
	limits: Record<string, unknown>;
	/** The JSON of a bundle's source map. */
	sourceMap: string | undefined;
}

type Bridge = Pick<Env, "BRIDGE">;

const layerSchema = v.object({
	digest: v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/)),
	bytes: v.number(),
	embedded: v.boolean(),
});

const foundSchema = v.object({
	/** "registry/name@sha256:…". */
	artifact: v.string(),
	/** Its layer with the script. */
	...layerSchema.entries,
	metered: v.nullable(layerSchema),
	format: v.picklist(["wasm", "js"]),
	config: v.string(),
});

/** The artifact's configuration, which whoever pushed it wrote. */
const configSchema = v.object({
	format: v.picklist(["wasm", "js"]),
	limits: v.optional(v.record(v.string(), v.unknown()), {}),
	source_map: v.optional(v.string()),
});

const AGAIN = "Push it again: `headstart initscript push DIR registry/name:tag`.";

/** Asks the artifact's registry. Throws `imagePullFailed`, or `imageInvalid` for what is no initscript. */
export async function findInitscript({ BRIDGE }: Bridge, reference: string): Promise<FoundScript> {
	const body = JSON.stringify({ artifact: reference });
	const answer = await BRIDGE.fetch("http://bridge/initscripts", { method: "POST", body });
	if (!answer.ok) throw await artifactError(answer);
	const { artifact, digest, bytes, embedded, metered, format, config } = v.parse(
		foundSchema,
		await answer.json(),
	);
	const told = v.safeParse(configSchema, parsed(config));
	if (!told.success || told.output.format !== format) {
		throw new HeadstartError("imageInvalid", `${reference}: its configuration is none of an initscript`, {
			hint: AGAIN,
		});
	}
	const { limits, source_map: sourceMap } = told.output;
	const script = { reference: artifact, digest, bytes, embedded, format };
	return { artifact: script, metered: metered ?? undefined, limits, sourceMap };
}

const PLAIN = { plain: true } as const;

/** The script, from its registry. `instance`: whose start waits for it, on whose timeline it is shown. */
export async function downloadInitscript(
	env: Bridge,
	artifact: ScriptArtifact,
	instance?: string,
): Promise<ScriptModule> {
	return moduleOf(await ask(env, artifact, { instance }), artifact);
}

/**
 * Has the bridge hand the script to the runner of the instance's tenant as soon as it is there: it need not pass through the host.
 * Gives the script where the runner did not take it.
 */
export async function sendInitscript(
	env: Bridge,
	artifact: ScriptArtifact,
	instance: string,
): Promise<ScriptModule | undefined> {
	const { format, metered } = artifact;
	const answer = await ask(env, artifact, {
		instance,
		hand_over: format === "js" ? "js" : metered ? "metered" : "plain",
	});
	return answer.status === 204 ? undefined : moduleOf(answer, artifact);
}

async function ask(
	{ BRIDGE }: Bridge,
	{ reference, digest, bytes, embedded }: ScriptArtifact,
	more: { instance: string | undefined; hand_over?: "metered" | "plain" | "js" },
): Promise<Response> {
	const body = JSON.stringify({ artifact: reference, bytes, embedded, ...more });
	const answer = await BRIDGE.fetch(`http://bridge/initscripts/${hex(digest)}`, { method: "POST", body });
	if (!answer.ok) throw await artifactError(answer);
	return answer;
}

async function moduleOf(
	answer: Response,
	{ digest, format, metered }: ScriptArtifact,
): Promise<ScriptModule> {
	if (format === "js") return { digest: hex(digest), format, source: await answer.text() };
	const bytes = new Uint8Array(await answer.arrayBuffer());
	return { digest: hex(digest), format, bytes, ...(metered ? {} : PLAIN) };
}

function hex(digest: string): string {
	return digest.slice("sha256:".length);
}

async function artifactError(answer: Response): Promise<HeadstartError> {
	const { code, message } = await bridgeError(answer);
	return new HeadstartError(
		code,
		`initscript: ${message}`,
		code === "imageInvalid" ? { hint: AGAIN } : undefined,
	);
}

function parsed(json: string): unknown {
	try {
		return JSON.parse(json);
	} catch {
		return undefined;
	}
}
