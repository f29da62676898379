import { randomBytes } from "node:crypto";
import { copyFile, mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";

/** A request as the development store saw it. */
export interface StoreRequest {
	verb: string;
	bucket: string;
	key: string;
	agent: string;
	status: number;
}

/** The user agent of the application's own client (clients/python/storage). */
const APP_AGENT = "headstart-python-direct";

/** GETs of one start, by whose they are. */
export interface Gets {
	byApp: number;
	byBridge: number;
	/** The most of one key. */
	perKey: number;
}

export function countGets(requests: readonly StoreRequest[]): Gets {
	const gets = requests.filter((request) => request.verb === "GET");
	const byApp = gets.filter((request) => request.agent.startsWith(APP_AGENT)).length;
	const keys = new Map<string, number>();
	for (const { bucket, key } of gets) keys.set(`${bucket}/${key}`, (keys.get(`${bucket}/${key}`) ?? 0) + 1);
	return { byApp, byBridge: gets.length - byApp, perKey: Math.max(0, ...keys.values()) };
}

/** What the store at this admin address was asked since its last reset. */
export async function storeRequests(admin: string): Promise<StoreRequest[]> {
	const answer = await fetch(`${admin}/-/stats`, { signal: AbortSignal.timeout(5_000) });
	if (!answer.ok) throw new Error(`the store's statistics: ${answer.status}`);
	const { requests } = (await answer.json()) as { requests: StoreRequest[] };
	return requests;
}

/** Forgets faults and counts. */
export function resetStore(admin: string): Promise<void> {
	return post(admin, "/-/reset", {});
}

/** A fault for the store's next requests like `request`, "GET inputs/a" (dev/store/src/fault.rs). */
export type Fault = { request: string; times?: number } & (
	| { kind: "reset" | "short"; after: number }
	| { kind: "stall"; after: number; ms: number }
	| { kind: "long" }
	| { kind: "status"; status: number }
	| { kind: "slow"; ms: number }
);

export function faultStore(admin: string, fault: Fault): Promise<void> {
	return post(admin, "/-/fault", fault);
}

async function post(admin: string, path: string, body: unknown): Promise<void> {
	const answer = await fetch(admin + path, {
		method: "POST",
		body: JSON.stringify(body),
		signal: AbortSignal.timeout(5_000),
	});
	const text = await answer.text();
	if (!answer.ok) throw new Error(`the store, ${path}: ${answer.status} ${text}`);
}

/** What a store is to have: "bucket/key" → the file to copy, or how many random bytes. */
export type Objects = Record<string, string | number>;

/** Fills a store's folder. */
export async function putObjects(folder: string, objects: Objects): Promise<void> {
	for (const [object, from] of Object.entries(objects)) {
		const path = join(folder, object);
		await mkdir(dirname(path), { recursive: true });
		if (typeof from === "string") await copyFile(from, path);
		else await writeRandom(path, from);
	}
}

async function writeRandom(path: string, bytes: number): Promise<void> {
	const file = await open(path, "w");
	try {
		const block = randomBytes(1 << 20);
		for (let written = 0; written < bytes; written += block.length) {
			await file.write(block, 0, Math.min(block.length, bytes - written));
		}
	} finally {
		await file.close();
	}
}
