/** Images of the workloads' applications: made once, kept, and pulled through a shaped link. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { stringify } from "smol-toml";
import { buildImage } from "../../src/cli/image/build.ts";
import { pushInitscript } from "../../src/cli/image/initscript.ts";
import { type Descriptor, finish, LAYER, type Layer } from "../../src/cli/image/layout.ts";
import { parseTarget, push } from "../../src/cli/image/push.ts";
import { askSocket, until } from "../../src/cli/node/wait.ts";
import type { Keeper } from "./keeper.ts";
import { pythonLayers } from "./python-layers.ts";
import { CACHE, type Registry } from "./registry.ts";

/** What an image is made of, beside headstart-image.toml's own words. */
export interface ImageSpec {
	/** Of the image in the registry: "cached". */
	name: string;
	/** Debian's packages, files only. */
	debian?: readonly string[];
	exclude?: readonly string[];
	/** Absolute paths on this machine, and where they go. */
	files?: readonly { from: string; to: string }[];
	/** Whether it has Python. */
	python?: boolean;
	/** What else it depends on, so that it is made anew: a program's digest. */
	version?: string;
}

export interface Image {
	/** "host:port/name@sha256:…", of the link. */
	reference: string;
	/** Packed, as it is pulled. */
	bytes: number;
}

/** Its layout's files, and how it was made. */
interface Made {
	manifest: Descriptor;
	bytes: number;
}

/** The registry, and the link through which the node pulls from it. */
export class ImageStore {
	readonly #registry: Registry;
	readonly #link: string;
	readonly #bridge: string;
	readonly #keeper: Keeper;
	readonly #note: (text: string) => void;

	/** `link`: "host:port" of the link to it; `bridge`: the socket of the node's bridge. */
	constructor(
		registry: Registry,
		link: string,
		bridge: string,
		keeper: Keeper,
		note: (text: string) => void,
	) {
		this.#registry = registry;
		this.#link = link;
		this.#bridge = bridge;
		this.#keeper = keeper;
		this.#note = note;
	}

	/** The image, made where it was not, and pushed. */
	async get(spec: ImageSpec): Promise<Image> {
		const description = JSON.stringify({ ...spec, layer: LAYER });
		const key = createHash("sha256").update(description).digest("hex").slice(0, 16);
		const layout = join(CACHE, "images", `${spec.name}-${key}`);
		const made = (await read(join(layout, "made.json"))) ?? (await this.#make(spec, layout));
		const target = parseTarget(`${this.#registry.address}/${spec.name}`);
		await push(layout, made.manifest, target, true);
		const digests = await readdir(join(layout, "blobs/sha256"));
		await this.#keeper.keep(digests.map((digest) => this.#registry.blob(digest)));
		return { reference: `${this.#link}/${spec.name}@${made.manifest.digest}`, bytes: made.bytes };
	}

	/** Pushes the initscript of a folder as an artifact; gives its reference, of the link, or of the registry without it. */
	async script(folder: string, name: string, linked = true): Promise<string> {
		const target = parseTarget(`${this.#registry.address}/initscripts/${name}`);
		const { reference } = await pushInitscript(folder, target, true);
		return linked ? reference.replace(this.#registry.address, this.#link) : reference;
	}

	/** Has the node pull it, so that a start finds it. */
	async keep({ reference }: Image): Promise<void> {
		const body = JSON.stringify({ image: reference, pull: true });
		const { status } = await askSocket(this.#bridge, "/images", { method: "POST", body, timeout: 120_000 });
		if (status !== 200) throw new Error(`the node did not pull ${reference} (${status})`);
	}

	/** Makes the node what an arm finds: with the image if it is one of those that say "present", else with none. Images share layers, so all go. */
	async prepare(arm: string, image?: Image): Promise<void> {
		if (!arm.startsWith("present")) await this.drop();
		else if (image !== undefined) await this.keep(image);
	}

	/** Has the node forget all images: what runs from one must have ended, or be about to. */
	async drop(): Promise<void> {
		const { body } = await askSocket(this.#bridge, "/images");
		const { images } = JSON.parse(body) as { images: { digest: string }[] };
		for (const { digest } of images) {
			await until(`the end of what runs from image ${digest}`, 10_000, async () => {
				const path = `/images/${digest.replace(/^sha256:/, "")}`;
				const { status } = await askSocket(this.#bridge, path, { method: "DELETE", timeout: 30_000 });
				return status === 204 || status === 404 || undefined;
			});
		}
	}

	async #make(spec: ImageSpec, layout: string): Promise<Made> {
		await rm(layout, { recursive: true, force: true });
		await mkdir(layout, { recursive: true });
		const { debian = [], exclude = [], files = [] } = spec;
		this.#note(`making the image ${spec.name}, once${debian.length > 0 ? `: ${debian.join(", ")}` : ""}`);
		const packages = { packages: [...debian], exclude: [...exclude] };
		const definition = { ...(debian.length > 0 ? { debian: packages } : {}), files: [...files] };
		await writeFile(join(layout, "headstart-image.toml"), stringify(definition));
		const built = await buildImage(layout, layout);
		const layers = spec.python ? await pythonLayers(layout, built.layers) : built.layers;
		const manifest = await finish(layout, layers, { env: {}, command: [] });
		const made = { manifest, bytes: sizeOf(layers) };
		await writeFile(join(layout, "made.json"), JSON.stringify(made));
		return made;
	}
}

function sizeOf(layers: readonly Layer[]): number {
	return layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
}

async function read(path: string): Promise<Made | undefined> {
	try {
		return JSON.parse(await readFile(path, "utf8")) as Made;
	} catch {
		return undefined; // not made, or not to its end
	}
}

/** A program of this machine and the libraries that it loads, for an image that has nothing else. */
export async function programFiles(program: string, to: string): Promise<{ from: string; to: string }[]> {
	const { stdout } = await promisify(execFile)("ldd", [program]);
	const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].flatMap(([, path]) => path ?? []);
	return [{ from: program, to }, ...(await Promise.all(libraries.map(libraryFile)))];
}

/** Where a link leads, placed where the link is. */
async function libraryFile(path: string): Promise<{ from: string; to: string }> {
	return { from: await realpath(path), to: path };
}

/** The SHA-256 of a file: of a program that an image has. */
export async function digestOf(path: string): Promise<string> {
	return createHash("sha256")
		.update(await readFile(path))
		.digest("hex");
}
