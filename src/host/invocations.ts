import type { InstanceMode } from "../bridge/bridge.ts";
import { functions, type Invocation, pool } from "../durable/node.ts";
import { invoke, refill, takeSpare } from "../durable/spares.ts";
import { checkLength } from "../durable/transcript/event-body.ts";
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import { dropCached } from "./drop.ts";
import { loadFunction } from "./functions.ts";

const MODES = new Map<string, InstanceMode>([
	["normal", "normal"],
	["noInitscript", "noInitscript"],
	["direct", "direct"],
]);

/** An event of this size is here with its head. */
const SMALL_EVENT_BYTES = 64 << 10;

const PATH = /^https?:\/\/[^/]+\/v1\/functions\/([^/?#]+)\/invocations(?:\?([^#]*))?(?:#|$)/;

/** What a request wants invoked. */
export interface Wanted {
	name: string;
	query: URLSearchParams;
}

/** Reads `POST /v1/functions/:name/invocations`; undefined for any other request. */
export function invocationOf({ method, url }: Request): Wanted | undefined {
	if (method !== "POST") return undefined;
	const [, name, query] = PATH.exec(url) ?? [];
	return name === undefined ? undefined : { name: decoded(name), query: new URLSearchParams(query) };
}

/** Runs a tenant's function: the body is the event, the answer is the function's. */
export async function invokeFunction(
	request: Request,
	env: Env,
	ctx: ExecutionContext,
	tenant: string,
	{ name, query }: Wanted,
): Promise<Response> {
	const { headers } = request;
	const mode = modeOf(query.get("mode"), query.get("only"));
	const cold = mode !== "normal" || isSet(query.get("cold")) || isSet(headers.get("x-headstart-cold"));
	const deployed = functions.named(tenant, name) ?? (await loadFunction(env, tenant, name));
	if (deployed.manifest.service !== undefined) {
		throw new HeadstartError("invalidArgument", `${name} is a service: it is not invoked`, {
			hint: `Start it: POST /v1/services/${name}/instances, or \`headstart service start ${name}\`.`,
		});
	}
	const dropped = query.get("cold") === "image";
	if (dropped) await dropCached(env, deployed);
	const length = headers.get("content-length");
	checkLength(length, deployed.manifest.app.limits.event);
	const small = length !== null && Number(length) <= SMALL_EVENT_BYTES;
	const invocation: Invocation = {
		deployed,
		mode,
		cold,
		withoutCaches: dropped,
		// Dropping them is no part of the start.
		sentAt: dropped ? 0n : parseSent(headers.get("x-headstart-sent")),
		contentType: headers.get("content-type") ?? undefined,
		event: small ? new Uint8Array(await request.arrayBuffer()) : undefined,
	};
	const warm = cold ? undefined : pool.takeWarm(deployed.digest);
	const answer = invoke(env, warm ?? takeSpare(env, tenant), invocation, request);
	// When the start is over, so that it has the machine to itself.
	if (warm === undefined) ctx.waitUntil(answer.then(() => refill(env, tenant)).catch(() => undefined));
	return answer;
}

/** A name that is not well encoded is nobody's. */
function decoded(name: string): string {
	try {
		return decodeURIComponent(name);
	} catch {
		return name;
	}
}

function parseSent(text: string | null): bigint {
	return text !== null && /^\d{1,19}$/.test(text) ? BigInt(text) : 0n;
}

function modeOf(mode: string | null, only: string | null): InstanceMode {
	if (only === "initscript") return "initscriptOnly";
	if (only !== null) throw new HeadstartError("invalidArgument", `only=${only}: "initscript" was expected`);
	const known = MODES.get(mode ?? "normal");
	if (known !== undefined) return known;
	throw new HeadstartError(
		"invalidArgument",
		`mode=${mode}: one of ${[...MODES.keys()].join(", ")} was expected`,
	);
}

function isSet(flag: string | null): boolean {
	return flag !== null && flag !== "0" && flag !== "false";
}
