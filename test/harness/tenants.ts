import type { NodeClient } from "../../src/cli/client.ts";
import { until } from "../../src/cli/node/wait.ts";
import type { InstanceRecord, InstanceSummary } from "../../src/shared/record.ts";
import type { Quota, Tenant } from "../../src/shared/tenant.ts";
import type { TestNode } from "./node.ts";
import { type Answer, deployProbe, type Event, invoke, type Variant } from "./probe.ts";

/** What the probe does that needs nothing, and what needs the store. */
export const echo: Event = { app: [["echo", 1]] };
export const download: Event = { script: [["get", "inputs", "a"]], app: [["download", "inputs", "a"]] };

/** The tenants of a node that wants tokens, each with a client of its own. */
export class Tenants {
	readonly #node: () => TestNode;
	readonly #clients = new Map<string, NodeClient>();

	constructor(node: () => TestNode) {
		this.#node = node;
	}

	of(name: string): Pick<TestNode, "client" | "node"> {
		const client = this.#clients.get(name);
		if (client === undefined) throw new Error(`there is no tenant ${name}`);
		return { client, node: this.#node().node };
	}

	/** Asks for the tenant with this token from now on. */
	keep(name: string, token: string): void {
		this.#clients.set(name, this.#node().of(token));
	}

	async add(name: string, quota: Quota = {}): Promise<void> {
		const added = await this.#node().operator.json<Tenant & { token: string }>(`/v1/tenants/${name}`, {
			method: "POST",
			body: JSON.stringify(quota),
		});
		this.keep(name, added.token);
	}

	/** The development store's credentials, or some that are wrong. */
	secret(changes: Record<string, string> = {}): string {
		const { endpoint = "", region = "", accessKey = "", secretKey = "" } = this.#node().node.store ?? {};
		const own = { kind: "s3", endpoint, region, access_key: accessKey, secret_key: secretKey };
		return JSON.stringify({ ...own, ...changes });
	}

	async putSecret(tenant: string, changes: Record<string, string> = {}): Promise<void> {
		const body = this.secret(changes);
		await this.of(tenant).client.ask("/v1/secrets/dev-store", { method: "PUT", body });
	}

	/** Adds one with the store's credentials and the probe. */
	async use(name: string, quota: Quota = {}, variant: Partial<Variant> = {}): Promise<void> {
		await this.add(name, quota);
		await this.putSecret(name);
		await this.deploy(name, variant);
	}

	deploy(tenant: string, variant: Partial<Variant> = {}): Promise<void> {
		return deployProbe(this.of(tenant), { name: "probe", isolation: "bubblewrap", ...variant });
	}

	run(tenant: string, event: Event, query = "cold=1"): Promise<Answer> {
		return invoke(this.of(tenant), "probe", event, query);
	}

	async instances(tenant: string): Promise<InstanceSummary[]> {
		const { client } = this.of(tenant);
		return (await client.json<{ instances: InstanceSummary[] }>("/v1/instances")).instances;
	}

	record(tenant: string, id: string): Promise<InstanceRecord> {
		return this.of(tenant).client.json<InstanceRecord>(`/v1/instances/${id}`);
	}

	ended(tenant: string, id: string): Promise<InstanceRecord> {
		return until(`the end of ${id}`, 15_000, async () => {
			const record = await this.record(tenant, id);
			return record.state === "running" || record.state === "warm" ? undefined : record;
		});
	}

	async used(tenant: string): Promise<Required<Quota> | undefined> {
		const { tenants } = await this.#node().operator.json<{
			tenants: { name: string; used: Required<Quota> }[];
		}>("/v1/tenants");
		return tenants.find(({ name }) => name === tenant)?.used;
	}

	/** Resolves when the tenant uses nothing but connections. */
	unused(tenant: string): Promise<true> {
		return until(`the end of what ${tenant} uses`, 15_000, async () => {
			const { instances, memory } = (await this.used(tenant)) ?? {};
			return (instances === 0 && memory === 0) || undefined;
		});
	}
}

/** "429 quotaExceeded": an answer's status, and its error. */
export async function code(client: NodeClient, path: string, init: RequestInit = {}): Promise<string> {
	const answer = await client.send(path, init);
	const body = (await answer.json().catch(() => ({}))) as { code?: string };
	return `${answer.status} ${body.code ?? ""}`.trim();
}
