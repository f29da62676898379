/** Who the sharded servers start from: a coordinator, and the peers or the cache that have the shards, each behind a link of its own. */
import { join } from "node:path";
import { Coordinator, Peer } from "../../test/harness/servers-of-shards.ts";
import type { Site } from "./workload.ts";

/** What the servers are reached by, each behind a link. */
export interface Servers {
	assignment: string;
	allow: string[];
}

export async function serveShards(site: Site, app: "cached" | "vecdb", folder: string): Promise<Servers> {
	const paths = [0, 1, 2, 3].map((number) => join(folder, String(number)));
	const coordinator = await Coordinator.start();
	site.defer(() => coordinator.stop());
	const peer = async (shards: string[]): Promise<{ peer: Peer; link: string }> => {
		const peer = await Peer.start(shards);
		site.defer(() => peer.stop());
		return { peer, link: await site.links.to(hostOf(peer.address("http"))) };
	};
	const asked = await site.links.to(hostOf(coordinator.address));
	if (app === "cached") {
		const pair = await Promise.all([peer(paths.slice(0, 2)), peer(paths.slice(2))]);
		const shards = pair.flatMap(({ link }, index) =>
			[0, 1].map((at) => `http://${link}/shards/${2 * index + at}`),
		);
		coordinator.assign("/cached", shards);
		const allow = [asked, ...pair.map(({ link }) => link)].map((host) => `GET http://${host}/*`);
		return { assignment: `http://${asked}/cached`, allow };
	}
	const cache = await peer([]);
	for (const [number, path] of paths.entries()) await cache.peer.set(`vectors/${number}`, path);
	coordinator.assign(
		"/vecdb",
		paths.map((_, number) => `memcached://${cache.link}/vectors/${number}`),
	);
	return {
		assignment: `http://${asked}/vecdb`,
		allow: [`GET http://${asked}/*`, `memcached://${cache.link}`],
	};
}

const hostOf = (url: string): string => new URL(url).host;
