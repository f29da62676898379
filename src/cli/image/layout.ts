/** An image as a folder: the OCI image layout. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress } from "node:zlib";
import { CliError } from "../errors.ts";
import type { Definition } from "./definition.ts";

export interface Descriptor {
	mediaType: string;
	digest: string;
	size: number;
	/** The content itself, in base64, for who would otherwise have to ask for it. */
	data?: string;
}

export interface Manifest {
	schemaVersion: 2;
	mediaType: string;
	config: Descriptor;
	layers: Descriptor[];
}

/** A layer that is in the layout, and the digest of its archive before it was packed. */
export interface Layer {
	descriptor: Descriptor;
	diffId: string;
}

export const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
/** Zstandard: it unpacks in a third of the time that gzip takes, in a start that waits for it. */
export const LAYER = "application/vnd.oci.image.layer.v1.tar+zstd";
/** A tenth smaller than gzip; higher ones take ten times as long for another tenth. */
const LEVEL = 9;
/** A configuration or an initscript up to this is embedded in its manifest. */
const MOST_EMBEDDED = 64 << 10;
const ARCHITECTURES: Record<string, string> = { x64: "amd64", arm64: "arm64" };

export function blobPath(layout: string, digest: string): string {
	return join(layout, "blobs", ...digest.split(":"));
}

/** Begins a layout in a folder that is made anew. */
export async function createLayout(folder: string): Promise<void> {
	await rm(join(folder, "blobs"), { recursive: true, force: true });
	await mkdir(join(folder, "blobs", "sha256"), { recursive: true });
	await writeFile(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}

/** Adds an archive as a layer. */
export async function addLayer(layout: string, archive: Readable): Promise<Layer> {
	const plain = createHash("sha256");
	const packed = createHash("sha256");
	const path = join(layout, "blobs", "layer");
	const hashing = (hash: typeof plain) =>
		async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
			for await (const chunk of chunks) {
				hash.update(chunk);
				yield chunk;
			}
		};
	const packing = createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: LEVEL } });
	await pipeline(archive, hashing(plain), packing, hashing(packed), createWriteStream(path));
	const digest = `sha256:${packed.digest("hex")}`;
	const { size } = await stat(path);
	await rename(path, blobPath(layout, digest));
	return { descriptor: { mediaType: LAYER, digest, size }, diffId: `sha256:${plain.digest("hex")}` };
}

/** Completes a layout, and gives the manifest's descriptor. */
export async function finish(
	layout: string,
	layers: readonly Layer[],
	{ env, working_dir, command }: Definition["config"],
): Promise<Descriptor> {
	const architecture = ARCHITECTURES[process.arch];
	if (architecture === undefined) throw new CliError(`images for ${process.arch} are not made here`);
	const config = await addEmbedded(layout, CONFIG, {
		created: "1970-01-01T00:00:00Z",
		architecture,
		os: "linux",
		config: {
			Env: Object.entries(env)
				.map(([name, value]) => `${name}=${value}`)
				.sort(),
			...(working_dir === undefined ? {} : { WorkingDir: working_dir }),
			...(command.length === 0 ? {} : { Cmd: command }),
		},
		rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
	});
	const manifest: Manifest = {
		schemaVersion: 2,
		mediaType: MANIFEST,
		config,
		layers: layers.map(({ descriptor }) => descriptor),
	};
	const descriptor = await addJson(layout, MANIFEST, manifest);
	const index = {
		schemaVersion: 2,
		mediaType: "application/vnd.oci.image.index.v1+json",
		manifests: [{ ...descriptor, platform: { architecture, os: "linux" } }],
	};
	await writeFile(join(layout, "index.json"), JSON.stringify(index));
	return descriptor;
}

/** The manifest that {@link finish} wrote. */
export async function readManifest(layout: string, { digest }: Descriptor): Promise<Manifest> {
	return JSON.parse(await readFile(blobPath(layout, digest), "utf8")) as Manifest;
}

export function openBlob(layout: string, digest: string): Readable {
	return createReadStream(blobPath(layout, digest));
}

export function addJson(layout: string, mediaType: string, value: unknown): Promise<Descriptor> {
	return addBlob(layout, mediaType, Buffer.from(JSON.stringify(value)));
}

/** The same, for who has its descriptor to have it too, unless it is large. */
function addEmbedded(layout: string, mediaType: string, value: unknown): Promise<Descriptor> {
	return addEmbeddedBlob(layout, mediaType, Buffer.from(JSON.stringify(value)));
}

/** {@link addBlob}, embedded where it is not large. */
export async function addEmbeddedBlob(layout: string, mediaType: string, bytes: Buffer): Promise<Descriptor> {
	const descriptor = await addBlob(layout, mediaType, bytes);
	return bytes.length > MOST_EMBEDDED ? descriptor : { ...descriptor, data: bytes.toString("base64") };
}

export async function addBlob(layout: string, mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
	const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
	await writeFile(blobPath(layout, digest), bytes);
	return { mediaType, digest, size: bytes.length };
}
