/** Images on the bridge: a tag's digest, and dropping what is cached. */
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import { bridgeError } from "./http-error.ts";

/** Pulls an image, and gives its reference with the digest that it has now. */
export async function prepareImage({ BRIDGE }: Pick<Env, "BRIDGE">, image: string): Promise<string> {
	const body = JSON.stringify({ image, pull: true });
	const answer = await BRIDGE.fetch("http://bridge/images", { method: "POST", body });
	if (!answer.ok) throw await bridgeError(answer);
	const told: unknown = await answer.json();
	if (typeof told === "object" && told !== null && "image" in told && typeof told.image === "string")
		return told.image;
	throw new HeadstartError("internal", "the bridge told no image");
}

/** Drops an image, named by its digest, from the node. `imageInUse` when something runs from it. */
export async function evictImage({ BRIDGE }: Pick<Env, "BRIDGE">, image: string): Promise<void> {
	const hex = image.split("@sha256:")[1] ?? "";
	const answer = await BRIDGE.fetch(`http://bridge/images/${hex}`, { method: "DELETE" });
	if (!answer.ok) throw await bridgeError(answer);
	await answer.arrayBuffer();
}
