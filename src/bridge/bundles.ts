/** Applications' files at the bridge: plain HTTP on its socket (docs/architecture.md). */
import { bridgeError } from "./http-error.ts";

/** Those that are on the disk, by their SHA-256 in hex. */
export async function bridgeBundles(bridge: Fetcher): Promise<string[]> {
	const answer = await bridge.fetch("http://bridge/bundles");
	if (!answer.ok) throw await bridgeError(answer);
	return ((await answer.json()) as { bundles: string[] }).bundles;
}

/** How much of the disk one takes, bytes; undefined where it is not there. */
export async function bundleBytes(bridge: Fetcher, hex: string): Promise<number | undefined> {
	const answer = await bridge.fetch(bundleUrl(hex));
	if (answer.status === 404) return undefined;
	if (!answer.ok) throw await bridgeError(answer);
	return ((await answer.json()) as { bytes: number }).bytes;
}

/** Removes one. Throws `imageInUse` while something runs from it. */
export async function dropBundle(bridge: Fetcher, hex: string): Promise<void> {
	const answer = await bridge.fetch(bundleUrl(hex), { method: "DELETE" });
	if (!answer.ok) throw await bridgeError(answer);
}

/** Where the bridge takes and has them. */
export function bundleUrl(hex: string): string {
	return `http://bridge/bundles/${hex}`;
}
