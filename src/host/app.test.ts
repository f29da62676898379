import { exports } from "cloudflare:workers";
import { expect, test } from "vitest";

const { default: host } = exports as unknown as { default: Fetcher };

async function refusal(
	path: string,
	init: RequestInit = {},
): Promise<{ status: number; code: string; hint: string }> {
	const answer = await host.fetch(`http://127.0.0.1:8787${path}`, init);
	const body = (await answer.json()) as { code: string; hint: string };
	return { status: answer.status, ...body };
}

test("only programs on this machine are answered", async () => {
	const page = { headers: { origin: "http://evil.example" } };
	expect(await refusal("/v1/functions", page)).toMatchObject({ status: 403, code: "forbiddenOrigin" });
	const named = await host.fetch("http://rebound.example/v1/functions");
	expect(named.status).toBe(403);
	const own = await host.fetch("http://127.0.0.1:8787/v1/functions", {
		headers: { origin: "http://127.0.0.1:8787" },
	});
	expect(await own.json()).toEqual({ functions: [] });
});

test("what is not there is a 404 that says so", async () => {
	expect(await refusal("/v2/what")).toMatchObject({ status: 404, code: "notFound" });
	expect(await refusal("/v1/functions/nope")).toMatchObject({ status: 404, code: "unknownFunction" });
	expect(await refusal("/v1/instances/i-nope")).toMatchObject({ status: 404, code: "unknownInstance" });
	expect(await refusal("/v1/functions/nope", { method: "DELETE" })).toMatchObject({ status: 404 });
	expect(await refusal("/v1/functions/nope/invocations", { method: "POST", body: "x" })).toMatchObject({
		status: 404,
	});
});

const bundle = `sha256:${"0".repeat(64)}`;
const manifest = { name: "x", app: { command: ["true"] } };

test.each([
	["no JSON", "{"],
	["no object", "[]"],
	["no bundle", JSON.stringify({ manifest })],
	["a bundle of another form", JSON.stringify({ manifest, bundle: "md5:0" })],
	["another name", JSON.stringify({ manifest: { ...manifest, name: "y" }, bundle })],
	[
		"an initscript that is missing",
		JSON.stringify({ manifest: { ...manifest, initscript: { main: "a.c" } }, bundle }),
	],
	["an initscript too many", JSON.stringify({ manifest, bundle, initscript: { format: "js", bytes: "" } })],
	["no base64", JSON.stringify({ manifest, bundle, initscript: { format: "js", bytes: "ä" } })],
	["another format", JSON.stringify({ manifest, bundle, initscript: { format: "py", bytes: "" } })],
])("a deployment with %s is a 400", async (_, body) => {
	expect(await refusal("/v1/functions/x", { method: "PUT", body })).toMatchObject({
		status: 400,
		code: "invalidArgument",
	});
});

test("an unknown key is refused with the nearest known one", async () => {
	const body = JSON.stringify({ manifest, bundle, initscipt: {} });
	expect((await refusal("/v1/functions/x", { method: "PUT", body })).hint).toBe('Did you mean "initscript"?');
});

test("wrong parameters are named", async () => {
	expect(await refusal("/v1/instances?limit=0")).toMatchObject({ status: 400 });
	expect(await refusal("/v1/bundles/zz", { method: "PUT", body: "x" })).toMatchObject({ status: 400 });
	const odd = await refusal("/v1/functions/x/invocations?only=app", { method: "POST", body: "x" });
	expect(odd).toMatchObject({ status: 400, code: "invalidArgument" });
});
