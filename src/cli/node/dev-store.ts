import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { DEFAULT_TENANT } from "../../shared/tenant.ts";
import { CliError } from "../errors.ts";
import { built, program } from "../paths.ts";
import { type Sink, Supervised } from "./child.ts";
import { askSocket, freePort, until } from "./wait.ts";

/** The S3 store for development, and the shaped link before it where one was asked for. */
export interface DevStore {
	/** What the secret names: the link if there is one, else the store. */
	endpoint: string;
	/** The store itself, without the link. */
	direct: string;
	region: string;
	accessKey: string;
	secretKey: string;
	/** URL of the store's admin listener: `GET /-/stats`, `POST /-/reset`, `POST /-/fault`. */
	admin: string;
	store: Supervised;
	link: Supervised | undefined;
	stop(): Promise<void>;
}

const REGION = "us-east-1";

/** On the loopback device, and reached from sandboxes too: where a node's bridge expects services for development. */
export const SERVICES = "10.213.255.1";

/** Gives the machine that address, as the bridge would a moment later. */
export async function addServicesAddress(): Promise<void> {
	try {
		await promisify(execFile)("ip", ["address", "add", `${SERVICES}/32`, "dev", "lo"]);
	} catch (error) {
		if (!String(error).includes("File exists") && !String(error).includes("already assigned")) throw error;
	}
}

export interface DevStoreOptions {
	/** "s3": with the shaped link before it. */
	devStore?: "plain" | "s3";
	storeDir?: string;
	sink: Sink;
}

/** They stand for another machine, and must take no time from what is measured on this one. */
const LEAST = ["-n", "19"];

/** The secret that the store's credentials are kept as, of the tenant "default". */
const SECRET = "dev-store";

/** Starts the store with new credentials. */
export async function startDevStore(options: DevStoreOptions): Promise<DevStore> {
	const { devStore, storeDir: root = join(built, "store"), sink } = options;
	const shaped = devStore === "s3";
	await mkdir(root, { recursive: true });
	const accessKey = `HSDEV${randomBytes(8).toString("hex").toUpperCase()}`;
	const secretKey = randomBytes(24).toString("base64url");
	await addServicesAddress();
	const direct = `http://${SERVICES}:${await freePort(0, SERVICES)}`;
	const admin = `http://127.0.0.1:${await freePort(0)}`;
	const store = new Supervised(
		{
			name: "store",
			command: "nice",
			args: [
				...[...LEAST, program("headstart-store"), "--dir", root, "--access-key", accessKey],
				...["--listen", direct.slice(7), "--admin", admin.slice(7)],
			],
			options: { env: { ...process.env, HEADSTART_STORE_SECRET_KEY: secretKey } },
		},
		sink,
	);
	let link: Supervised | undefined;
	let endpoint = direct;
	if (shaped) {
		endpoint = `http://${SERVICES}:${await freePort(0, SERVICES)}`;
		link = new Supervised(
			{
				name: "link",
				command: "nice",
				args: [...LEAST, program("headstart-link"), "--listen", endpoint.slice(7), "--to", direct.slice(7)],
			},
			sink,
		);
	}
	const stop = async (): Promise<void> => {
		await link?.stop(2_000);
		await store.stop(2_000);
	};
	try {
		await until("the development store", 10_000, async () => {
			const answer = await fetch(`${admin}/-/stats`, { signal: AbortSignal.timeout(2_000) });
			await answer.arrayBuffer();
			return answer.ok || undefined;
		});
		if (shaped) await until("the shaped link", 10_000, async () => (await accepts(endpoint)) || undefined);
	} catch (error) {
		await stop();
		throw error;
	}
	return { endpoint, direct, region: REGION, accessKey, secretKey, admin, store, link, stop };
}

/** Gives the bridge the store's credentials, as the secret that functions for development name. */
export async function keepCredentials(
	bridgeSocket: string,
	{ endpoint, region, accessKey, secretKey }: DevStore,
): Promise<void> {
	const secret = { kind: "s3", endpoint, region, access_key: accessKey, secret_key: secretKey };
	const path = `/secrets/${DEFAULT_TENANT}/${SECRET}`;
	const { status } = await askSocket(bridgeSocket, path, { method: "PUT", body: JSON.stringify(secret) });
	if (status !== 204)
		throw new CliError(`the bridge did not take the development store's secret (${status})`);
}

/** Whether something listens there. */
async function accepts(url: string): Promise<boolean> {
	const { hostname, port } = new URL(url);
	const socket = connect(Number(port), hostname);
	try {
		await once(socket, "connect");
		return true;
	} finally {
		socket.destroy();
	}
}
