import { join, resolve } from "node:path";
import { Command } from "commander";
import { buildImage } from "../image/build.ts";
import { parseTarget, push } from "../image/push.ts";

interface BuildOptions {
	out?: string;
	push?: string;
	plain?: true;
	json?: true;
}

/** `headstart image …`: small images without Docker (docs/images.md). */
export function imageCommand(): Command {
	return new Command("image")
		.description("Builds images of applications")
		.addCommand(
			new Command("build")
				.description("builds the image that DIR/headstart-image.toml describes")
				.argument("<dir>")
				.option("--out <dir>", "where the OCI layout is written (DIR/.image)")
				.option("--push <registry/name[:tag]>", "push it there")
				.option("--plain", "the registry speaks HTTP without TLS")
				.option("--json", "print one JSON object: digest, reference, bytes, layers")
				.action(build),
		);
}

async function build(dir: string, options: BuildOptions): Promise<void> {
	const target = options.push === undefined ? undefined : parseTarget(options.push);
	const layout = resolve(options.out ?? join(dir, ".image"));
	const { manifest, layers } = await buildImage(dir, layout);
	const bytes = layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
	const reference = target && (await push(layout, manifest, target, options.plain === true));
	if (options.json) {
		console.log(JSON.stringify({ digest: manifest.digest, reference, bytes, layers: layers.length }));
		return;
	}
	console.log(reference ?? `${layout}: ${manifest.digest}`);
	process.stderr.write(`${layers.length} layers, ${(bytes / 1e6).toFixed(1)} MB\n`);
}
