import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Fault, faultStore, resetStore, type StoreRequest, storeRequests } from "../../bench/store.ts";
import { NodeClient } from "../../src/cli/client.ts";
import { wranglerHost } from "../../src/cli/dev/host.ts";
import { type Leak, leaksAfter } from "../../src/cli/doctor/leaks.ts";
import { type NodeOptions, type RunningNode, startNode } from "../../src/cli/node/node.ts";
import { until } from "../../src/cli/node/wait.ts";
import type { InstanceRecord, InstanceSummary } from "../../src/shared/record.ts";
import { DEFAULT_TENANT } from "../../src/shared/tenant.ts";

/** What runs the host: plain workerd, or `wrangler dev`. */
export type HostKind = "workerd" | "wrangler";

/** Where a file's tests need another node than the rest. */
export type Settings = Pick<NodeOptions, "memory" | "devStore" | "development" | "images">;

/** How long an instance may take to be reaped, ms. */
const REAPED = 15_000;

/** A node of its own for a test file: temporary directories, a free port, a store with the objects that the tests put. */
export class TestNode {
	readonly node: RunningNode;
	/** Asks for the tenant "default". */
	readonly client: NodeClient;
	/** Asks as the operator, for no tenant where the node wants tokens. */
	readonly operator: NodeClient;
	/** What the node's programs printed. */
	readonly lines: string[];
	readonly #folder: string;

	private constructor(node: RunningNode, token: string | undefined, lines: string[], folder: string) {
		this.node = node;
		this.operator = new NodeClient(node.url, token === undefined ? {} : { token });
		this.client = token === undefined ? this.operator : this.of(token, DEFAULT_TENANT);
		this.lines = lines;
		this.#folder = folder;
	}

	static async start(kind: HostKind, settings: Settings = {}): Promise<TestNode> {
		const folder = await mkdtemp(join(tmpdir(), "hst-"));
		for (const bucket of ["inputs", "results"])
			await mkdir(join(folder, "store", bucket), { recursive: true });
		const lines: string[] = [];
		try {
			const node = await startNode({
				run: join(folder, "run"),
				state: join(folder, "state"),
				storeDir: join(folder, "store"),
				port: 0,
				development: true,
				devStore: "plain",
				recordInputs: true,
				...settings,
				sink: (from, line) => void lines.push(`${from}: ${line}`),
				...(kind === "wrangler" ? { host: wranglerHost } : {}),
			});
			const token = node.operatorToken && (await readFile(node.operatorToken, "utf8")).trim();
			return new TestNode(node, token, lines, folder);
		} catch (error) {
			await rm(folder, { recursive: true, force: true });
			throw new Error(`the node did not start:\n${lines.join("\n")}`, { cause: error });
		}
	}

	/** Asks with a token; with the operator's for a tenant. */
	of(token: string, tenant?: string): NodeClient {
		return new NodeClient(this.node.url, { token, ...(tenant === undefined ? {} : { tenant }) });
	}

	/** Puts an object into the store. */
	async put(bucket: string, key: string, content: string | Buffer): Promise<void> {
		const path = join(this.#folder, "store", bucket, key);
		await mkdir(dirname(path), { recursive: true });
		await writeFile(path, content);
	}

	/** An object of the store. */
	get(bucket: string, key: string): Promise<string> {
		return readFile(join(this.#folder, "store", bucket, key), "utf8");
	}

	fault(fault: Fault): Promise<void> {
		return faultStore(this.node.store?.admin ?? "", fault);
	}

	/** Forgets faults and counts. */
	resetStore(): Promise<void> {
		return resetStore(this.node.store?.admin ?? "");
	}

	/** How often the store was asked: "GET inputs/a" → times. */
	async requests(): Promise<Record<string, number>> {
		const counts: Record<string, number> = {};
		for (const { verb, bucket, key } of await this.asked()) {
			const request = `${verb} ${bucket}/${key}`;
			counts[request] = (counts[request] ?? 0) + 1;
		}
		return counts;
	}

	/** What the store was asked, and by whom. */
	asked(): Promise<StoreRequest[]> {
		return storeRequests(this.node.store?.admin ?? "");
	}

	record(id: string): Promise<InstanceRecord> {
		return this.client.json<InstanceRecord>(`/v1/instances/${id}`);
	}

	/** The instance's record once it has ended and is reaped. */
	ended(id: string): Promise<InstanceRecord> {
		return until(`the end of ${id}`, REAPED, async () => {
			const record = await this.record(id);
			return ["running", "serving", "warm"].includes(record.state) ? undefined : record;
		});
	}

	/** The last instances of the tenant "default". */
	async instances(): Promise<InstanceSummary[]> {
		const path = "/v1/instances?limit=500";
		return (await this.client.json<{ instances: InstanceSummary[] }>(path)).instances;
	}

	/** Instances that have not ended. */
	async live(): Promise<InstanceSummary[]> {
		const instances = await this.instances();
		return instances.filter(({ state }) => state === "running" || state === "warm");
	}

	/** Resolves when no invocation runs. */
	async quiet(): Promise<void> {
		await until("the end of all invocations", REAPED, async () => {
			const live = await this.live();
			return live.every(({ state }) => state === "warm") || undefined;
		});
	}

	/** What is left of ended instances, once there is nothing or after `within` ms. */
	leaks(within = REAPED): Promise<Leak[]> {
		return leaksAfter(this.node.run, this.node.state, within);
	}

	/** Stops the node and removes its directories. Returns what it left on the machine. */
	async stop(): Promise<Leak[]> {
		await this.node.stop();
		const leaks = await this.leaks();
		await rm(this.#folder, { recursive: true, force: true });
		return leaks;
	}
}
