import { Hono } from "hono";
import type { InstanceMode } from "../../bridge/bridge.ts";
import { functions, pool } from "../../durable/node.ts";
import { refill, takeSpare, transcript } from "../../durable/spares.ts";
import { checkLength } from "../../durable/transcript/event-body.ts";
import { HEADER } from "../../durable/transcript.ts";
import { HeadstartError } from "../../shared/error.ts";
import type { HostEnv } from "../env.ts";
import { loadFunction } from "../functions.ts";

const MODES = new Map<string, InstanceMode>([
	["normal", "normal"],
	["noInitscript", "noInitscript"],
	["direct", "direct"],
]);

const SMALL_BODY_BYTES = 64 << 10;

/** `POST /v1/functions/:name/invocations`: the body is the event, the answer is the function's. */
export const invocations = new Hono<HostEnv>();

invocations.post("/:name/invocations", async ({ req, env, executionCtx }) => {
	const name = req.param("name");
	const mode = modeOf(req.query("mode"), req.query("only"));
	const cold = mode !== "normal" || isSet(req.query("cold")) || isSet(req.header(HEADER.cold));
	const deployed = functions.named(name) ?? (await loadFunction(env, name));
	const length = req.header("content-length");
	checkLength(length, deployed.manifest.app.limits.event);
	// A small event is here with its head: handing its bytes on is faster than a stream.
	const body = Number(length ?? Infinity) <= SMALL_BODY_BYTES ? await req.arrayBuffer() : req.raw.body;

	const warm = cold ? undefined : pool.takeWarm(deployed.digest);
	const object = warm ?? takeSpare(env);
	const headers = new Headers(req.raw.headers);
	headers.set(HEADER.digest, deployed.digest);
	headers.set(HEADER.mode, mode);
	if (cold) headers.set(HEADER.cold, "1");
	else headers.delete(HEADER.cold);
	const answer = transcript(env, object).fetch("http://transcript/", {
		method: "POST",
		headers,
		body,
		signal: req.raw.signal,
	});
	// When the start is over, so that it has the machine to itself.
	if (warm === undefined) executionCtx.waitUntil(answer.then(() => refill(env)).catch(() => undefined));
	return answer;
});

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
