import { existsSync } from "node:fs";
import type { Manifest } from "../../shared/manifest.ts";
import { CliError } from "../errors.ts";
import { inRoot } from "../paths.ts";
import { type FoundFile, findFiles } from "./files.ts";

const BUILT = "dist/clients";
const PRELOAD = "libheadstart-preload.so";
/** A sandbox's own PATH, after the programs that packages bring. */
const PATH = "/app/node_modules/.bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/** What a bundle takes with it beside the application's files, and what its environment says of that. */
export interface Taken {
	files: FoundFile[];
	env: Record<string, string>;
}

/** Node's client for what Node runs, and the library for unmodified programs where the manifest names addresses for it. */
export async function bundledClients({ app }: Manifest): Promise<Taken> {
	const taken: Taken = { files: [], env: {} };
	if (app.command.some((part) => /(^|\/)(node|headstart-runtime)$/.test(part))) {
		const client = await findFiles(built("node"), () => true);
		taken.files.push(...client.map(({ path, from }) => ({ path: `node_modules/headstart/${path}`, from })), {
			path: "node_modules/.bin/headstart-runtime",
			from: inRoot("clients/node/bin/headstart-runtime"),
		});
		// Each waiting call holds a thread of libuv's pool; its four are for files and names, too.
		Object.assign(taken.env, { PATH, UV_THREADPOOL_SIZE: "16" });
	}
	if (app.preload.length > 0) {
		taken.files.push({ path: `lib/${PRELOAD}`, from: built(PRELOAD) });
		Object.assign(taken.env, {
			LD_PRELOAD: `/app/lib/${PRELOAD}`,
			HEADSTART_HANDOVER: app.preload.join(","),
		});
	}
	return taken;
}

function built(name: string): string {
	const path = inRoot(BUILT, name);
	if (!existsSync(path))
		throw new CliError(`${path} is not there`, "run `npm run setup`: it builds the clients");
	return path;
}
