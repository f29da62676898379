/**
 * Objects of S3-like stores, with the interface that the Python library has: what the initscript fetched is taken from it,
 * everything else the bridge does.
 */
import { fnv1a64 } from "../../node/src/id.ts";
import { url } from "./address.ts";
import { HeadstartError } from "./error.ts";
import { call, recvMsg, type Wait } from "./index.ts";
import type { Reply } from "./reply.ts";

/** The store refused a request; `status` is HTTP's. */
export class StorageError extends Error {
	override readonly name = "StorageError";
	readonly status: number;

	constructor(status: number, content: string) {
		super(`${content}: the store answered ${status}`);
		this.status = status;
	}
}

/** The object's bytes. Throws {@link StorageError} or {@link HeadstartError}. */
export async function download(
	bucket: string,
	key: string,
	wait: Wait = {},
): Promise<Uint8Array<ArrayBuffer>> {
	const content = `GET ${url(bucket, key)}`;
	try {
		const reply = await recvMsg(fnv1a64(content), { content, ...wait });
		if (reply.status < 400) return await reply.bytes();
		await reply.stream().cancel();
	} catch (error) {
		// A miss, or what the initscript fetched failed: the application asks itself.
		if (!(error instanceof HeadstartError)) throw error;
	}
	return (await checked(content, await call(content, wait))).bytes();
}

/** Stores bytes. What was fetched ahead of this key is void from now on. */
export async function upload(
	bucket: string,
	key: string,
	data: Uint8Array | string,
	wait: Wait = {},
): Promise<void> {
	const content = `PUT ${url(bucket, key)}`;
	await (await checked(content, await call(content, { ...wait, body: data }))).stream().cancel();
}

/** Removes an object; one that is not there is removed already. */
export async function remove(bucket: string, key: string, wait: Wait = {}): Promise<void> {
	const content = `DELETE ${url(bucket, key)}`;
	await (await checked(content, await call(content, wait))).stream().cancel();
}

async function checked(content: string, reply: Reply): Promise<Reply> {
	if (reply.status < 400) return reply;
	await reply.stream().cancel();
	throw new StorageError(reply.status, content);
}
