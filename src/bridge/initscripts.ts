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
	metered: { digest: string; bytes: number } | undefined;
	/** [initscript.limits] that it was made for, as headstart.toml would say them; nobody has looked into them. */
	limits: Record<string, unknown>;
	/** The JSON of a bundle's source map. */
	sourceMap: string | undefined;
}

type Bridge = Pick<Env, "BRIDGE">;

const layerSchema = v.object({
	digest: v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/)),
	bytes: v.number(),
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
	const { artifact, digest, bytes, metered, format, config } = v.parse(foundSchema, await answer.json());
	const told = v.safeParse(configSchema, parsed(config));
	if (!told.success || told.output.format !== format) {
		throw new HeadstartError("imageInvalid", `${reference}: its configuration is none of an initscript`, {
			hint: AGAIN,
		});
	}
	const { limits, source_map: sourceMap } = told.output;
	const script = { reference: artifact, digest, bytes, format };
	return { artifact: script, metered: metered ?? undefined, limits, sourceMap };
}

const PLAIN = { plain: true } as const;

/** The script, from its registry. `instance`: whose start waits for it, on whose timeline it is shown. */
export async function downloadInitscript(
	{ BRIDGE }: Bridge,
	{ reference, digest, bytes, format, metered }: ScriptArtifact,
	instance?: string,
): Promise<ScriptModule> {
	const hex = digest.slice("sha256:".length);
	const body = JSON.stringify({ artifact: reference, bytes, instance });
	const answer = await BRIDGE.fetch(`http://bridge/initscripts/${hex}`, { method: "POST", body });
	if (!answer.ok) throw await artifactError(answer);
	if (format === "js") return { digest: hex, format, source: await answer.text() };
	return {
		digest: hex,
		format,
		bytes: new Uint8Array(await answer.arrayBuffer()),
		...(metered ? {} : PLAIN),
	};
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
