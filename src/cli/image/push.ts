/** Pushing to a registry: the OCI distribution protocol. */
import { Readable } from "node:stream";
import { CliError } from "../errors.ts";
import { type Descriptor, openBlob, readManifest } from "./layout.ts";

/** Where an image goes: "registry/name" or "registry/name:tag". */
export interface Target {
	registry: string;
	name: string;
	tag: string;
}

/** Reads a target. The registry is named, for nobody should push to one by mistake. */
export function parseTarget(text: string): Target {
	const [, registry, name, tag] =
		/^([A-Za-z0-9.-]+(?::\d{1,5})?)\/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?$/.exec(
			text,
		) ?? [];
	if (registry === undefined || name === undefined)
		throw new CliError(`${text} is no place in a registry`, 'write "registry/name" or "registry/name:tag"');
	return { registry, name, tag: tag ?? "latest" };
}

/** Pushes a layout's image, its blobs first. `plain`: without TLS. Gives the reference by digest. */
export async function push(
	layout: string,
	manifest: Descriptor,
	target: Target,
	plain: boolean,
): Promise<string> {
	const base = `${plain ? "http" : "https"}://${target.registry}/v2/${target.name}`;
	const { config, layers } = await readManifest(layout, manifest);
	for (const blob of [...layers, config]) await pushBlob(base, layout, blob);
	await ask(`${base}/manifests/${target.tag}`, {
		method: "PUT",
		headers: { "content-type": manifest.mediaType },
		body: await new Response(
			Readable.toWeb(openBlob(layout, manifest.digest)) as ReadableStream,
		).arrayBuffer(),
	});
	return `${target.registry}/${target.name}@${manifest.digest}`;
}

async function pushBlob(base: string, layout: string, { digest, size }: Descriptor): Promise<void> {
	const known = await send(`${base}/blobs/${digest}`, { method: "HEAD" });
	if (known.ok) return;
	const begun = await ask(`${base}/blobs/uploads/`, { method: "POST" });
	const location = begun.headers.get("location");
	if (location === null) throw new CliError(`${base} does not say where to upload`);
	const url = new URL(location, base);
	url.searchParams.set("digest", digest);
	await ask(url.href, {
		method: "PUT",
		headers: { "content-type": "application/octet-stream", "content-length": String(size) },
		body: Readable.toWeb(openBlob(layout, digest)) as ReadableStream<Uint8Array>,
		duplex: "half",
	});
}

async function ask(url: string, init: RequestInit): Promise<Response> {
	const answer = await send(url, init);
	const text = await answer.text();
	if (!answer.ok) throw new CliError(`${init.method} ${url}: ${answer.status} ${text.slice(0, 300)}`);
	return answer;
}

async function send(url: string, init: RequestInit): Promise<Response> {
	try {
		return await fetch(url, init);
	} catch (error) {
		const cause =
			error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
		throw new CliError(`the registry at ${new URL(url).host} does not answer: ${cause}`);
	}
}
