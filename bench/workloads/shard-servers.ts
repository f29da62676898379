/** Who the sharded servers start from: a coordinator, and the peers or the cache that have the shards, each behind a link of its own. */
import { Coordinator, Peer } from "../../test/harness/servers-of-shards.ts";
import type { Site } from "./workload.ts";

/** What the servers are reached by, each behind a link. */
export interface Servers {
	assignment: string;
	allow: string[];
}

/** Serves these shards' files: cached's each by a peer, vecdb's all by one cache. */
export async function serveShards(
	site: Site,
	app: "cached" | "vecdb",
	paths: readonly string[],
): Promise<Servers> {
	const coordinator = await Coordinator.start();
	site.defer(() => coordinator.stop());
	const peer = async (shards: string[]): Promise<{ peer: Peer; link: string }> => {
		const peer = await Peer.start(shards);
		site.defer(() => peer.stop());
		return { peer, link: await site.links.to(hostOf(peer.address("http"))) };
	};
	const asked = await site.links.to(hostOf(coordinator.address));
	if (app === "cached") {
		const peers = await Promise.all(paths.map((path) => peer([path])));
		coordinator.assign(
			"/cached",
			peers.map(({ link }, number) => `http://${link}/shards/${number}`),
		);
		const allow = [asked, ...peers.map(({ link }) => link)].map((host) => `GET http://${host}/*`);
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
