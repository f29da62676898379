import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import type { DemoOptions } from "../../../setup/demo-options.ts";
import { NodeClient } from "../client.ts";
import { terminal } from "../commands/trace.ts";
import { deploy } from "../deploy/deploy.ts";
import { CliError } from "../errors.ts";
import { type RunningNode, startNode } from "../node/node.ts";
import { built, inRoot } from "../paths.ts";
import { ms } from "../trace/render.ts";
import { describeStarts, type Measured, startsJson } from "./report.ts";
import { type Start, startOnce, withCredentials } from "./start.ts";

/** Cold starts of each kind that are measured; one more before them warms the machine's caches. */
const ROUNDS = 3;
/** What the example photo shows, in ImageNet's words. */
const RIGHT = ["tabby", "tiger cat", "Egyptian cat"];

/**
 * `npm run demo [-- --image FILE --json]`: cold-starts the image recognition in gVisor by itself and with its initscript, over
 * a link that is as slow as S3, and shows where the time went. Leaves nothing running.
 */
export async function demo({ image, json }: DemoOptions): Promise<void> {
	const folder = await mkdtemp(join(tmpdir(), "hsd-"));
	const lines: string[] = [];
	let photo: Photo | undefined;
	let node: RunningNode | undefined;
	let stopped = false;
	const stop = (): void => {
		// The next start is refused, which is an error; what follows is done by `finally`.
		stopped = true;
		void node?.stop();
	};
	process.once("SIGINT", stop);
	try {
		photo = await upload(image);
		say("Starting a node with an S3 store behind a link of 25 ms and 69.5 MB/s.");
		node = await startNode({
			run: join(folder, "run"),
			state: join(folder, "state"),
			port: 0,
			development: true,
			devStore: "s3",
			sink: (from, line) => void lines.push(`${from}: ${line}`),
		});
		if (stopped) throw new CliError("stopped");
		const measured = await measure(node, photo.key);
		const report = json ? JSON.stringify(startsJson(measured)) : `\n${describeStarts(measured, terminal())}`;
		process.stdout.write(`${report}\n`);
		const label = measured.without[0]?.label ?? "";
		if (image === undefined && !RIGHT.includes(label)) {
			throw new CliError(`the label is ${label}, which is wrong`, `one of ${RIGHT.join(", ")} was expected`);
		}
	} catch (error) {
		if (stopped) throw new CliError("stopped");
		process.stderr.write(`${lines.slice(-20).join("\n")}\n`);
		throw error;
	} finally {
		process.off("SIGINT", stop);
		await node?.stop();
		await photo?.remove();
		await rm(folder, { recursive: true, force: true });
	}
}

/** Both kinds of start, alternating. */
async function measure(node: RunningNode, key: string): Promise<Measured> {
	const client = new NodeClient(node.url);
	say("Deploying apps/imgrec.");
	const { initscript } = await deploy(inRoot("apps/imgrec"), client, (input) => withCredentials(input, node));
	const without: Start[] = [];
	const withScript: Start[] = [];
	for (let round = 0; round <= ROUNDS; round++) {
		const alone = await startOnce(client, key, "mode=direct");
		const helped = await startOnce(client, key, "cold=1");
		if (alone.label !== helped.label) {
			throw new CliError(`the labels differ: ${alone.label} without the initscript, ${helped.label} with it`);
		}
		const times = `${ms(alone.nanos)} without, ${ms(helped.nanos)} with the initscript`;
		say(round === 0 ? `Warming up: ${times}.` : `Cold start ${round} of ${ROUNDS}: ${times}.`);
		if (round > 0) {
			without.push(alone);
			withScript.push(helped);
		}
	}
	return { without, withScript, initscript };
}

interface Photo {
	key: string;
	remove(): Promise<void>;
}

/** Puts the photo into the store, where it is not the one that the set-up put there. */
async function upload(image: string | undefined): Promise<Photo> {
	if (image === undefined) return { key: "chelsea.png", remove: async () => undefined };
	const key = `demo-${process.pid}${extname(image)}`;
	const path = join(built, "store/inputs", key);
	await copyFile(image, path);
	return { key, remove: () => rm(path, { force: true }) };
}

function say(text: string): void {
	process.stderr.write(`${text}\n`);
}
