import { Hono } from "hono";
import type { InstanceMode } from "../../bridge/bridge.ts";
import { functions, type Invocation, pool } from "../../durable/node.ts";
import { invoke, refill, takeSpare } from "../../durable/spares.ts";
import { checkLength } from "../../durable/transcript/event-body.ts";
import { HeadstartError } from "../../shared/error.ts";
import type { HostEnv } from "../env.ts";
import { loadFunction } from "../functions.ts";

const MODES = new Map<string, InstanceMode>([
	["normal", "normal"],
	["noInitscript", "noInitscript"],
	["direct", "direct"],
]);

/** An event of this size is here with its head. */
const SMALL_EVENT_BYTES = 64 << 10;

/** `POST /v1/functions/:name/invocations`: the body is the event, the answer is the function's. */
export const invocations = new Hono<HostEnv>();

invocations.post("/:name/invocations", async ({ req, env, executionCtx }) => {
	const name = req.param("name");
	const mode = modeOf(req.query("mode"), req.query("only"));
	const cold = mode !== "normal" || isSet(req.query("cold")) || isSet(req.header("x-headstart-cold"));
	const deployed = functions.named(name) ?? (await loadFunction(env, name));
	const length = req.header("content-length");
	checkLength(length, deployed.manifest.app.limits.event);
	const small = Number(length ?? Number.POSITIVE_INFINITY) <= SMALL_EVENT_BYTES;
	const invocation: Invocation = {
		deployed,
		mode,
		cold,
		sentAt: parseSent(req.header("x-headstart-sent")),
		contentType: req.header("content-type"),
		event: small ? new Uint8Array(await req.arrayBuffer()) : undefined,
	};
	const warm = cold ? undefined : pool.takeWarm(deployed.digest);
	const answer = invoke(env, warm ?? takeSpare(env), invocation, req.raw);
	// When the start is over, so that it has the machine to itself.
	if (warm === undefined) executionCtx.waitUntil(answer.then(() => refill(env)).catch(() => undefined));
	return answer;
});

function parseSent(text: string | undefined): bigint {
	return text !== undefined && /^\d{1,19}$/.test(text) ? BigInt(text) : 0n;
}

function modeOf(mode: string | undefined, only: string | undefined): InstanceMode {
	if (only === "initscript") return "initscriptOnly";
	if (only !== undefined)
		throw new HeadstartError("invalidArgument", `only=${only}: "initscript" was expected`);
	const known = MODES.get(mode ?? "normal");
	if (known !== undefined) return known;
	throw new HeadstartError(
		"invalidArgument",
		`mode=${mode}: one of ${[...MODES.keys()].join(", ")} was expected`,
	);
}

function isSet(flag: string | undefined): boolean {
	return flag !== undefined && flag !== "0" && flag !== "false";
}
