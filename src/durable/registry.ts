import { DurableObject } from "cloudflare:workers";
import type { ScriptModule } from "../isolates/protocol.ts";
import type { DeployedFunction, DeployedScript } from "../shared/function.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { TenantTable } from "./tenant-table.ts";
import type { KnownTenant } from "./tenants.ts";

/** Of one tenant. */
export const MAX_FUNCTIONS = 256;

/** SQLite values hold at most 2 MB. */
const CHUNK_BYTES = 1 << 20;

/** What is kept of a function as JSON; its initscript's bytes are apart. */
type Kept = Omit<DeployedFunction, "script"> & Pick<DeployedScript, "artifact">;

interface FunctionRow extends Record<string, SqlStorageValue> {
	body: string;
	module: string | null;
	format: string | null;
}

/** The tenants, their deployed functions and these's initscripts, in SQLite. */
export class Registry extends DurableObject<unknown> {
	readonly #sql: SqlStorage;
	readonly #storage: DurableObjectStorage;
	readonly #tenants: TenantTable;

	constructor(ctx: DurableObjectState, env: unknown) {
		super(ctx, env);
		this.#storage = ctx.storage;
		this.#sql = ctx.storage.sql;
		this.#sql.exec(`CREATE TABLE IF NOT EXISTS deployments (
			tenant TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, module TEXT, format TEXT,
			PRIMARY KEY (tenant, name)
		) WITHOUT ROWID`);
		this.#sql.exec(`CREATE TABLE IF NOT EXISTS blobs (
			digest TEXT NOT NULL, kind TEXT NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL,
			PRIMARY KEY (digest, kind, part)
		) WITHOUT ROWID`);
		this.#sql.exec(`CREATE TABLE IF NOT EXISTS bundles (
			tenant TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (tenant, digest)
		) WITHOUT ROWID`);
		this.#tenants = new TenantTable(this.#sql);
		this.#adopt();
	}

	/**
	 * Keeps a function in the place of its older version. It is on the disk when this returns. False: the tenant has as many as
	 * it may have.
	 */
	async put(it: DeployedFunction): Promise<boolean> {
		if (!this.#hasRoom(it.tenant, it.manifest.name)) return false;
		const { script, ...rest } = it;
		const kept: Kept = { ...rest, ...(script?.artifact && { artifact: script.artifact }) };
		this.#storage.transactionSync(() => {
			this.#sql.exec(
				"INSERT OR REPLACE INTO deployments (tenant, name, body, module, format) VALUES (?, ?, ?, ?, ?)",
				it.tenant,
				it.manifest.name,
				JSON.stringify(kept),
				script?.module.digest ?? null,
				script?.module.format ?? null,
			);
			if (script !== undefined) {
				const { module, sourceMap } = script;
				const bytes = module.format === "wasm" ? module.bytes : new TextEncoder().encode(module.source);
				this.#putBlob(module.digest, "module", bytes);
				this.#putBlob(module.digest, "map", new TextEncoder().encode(sourceMap ?? ""));
			}
			this.#collect();
		});
		await this.#storage.sync();
		return true;
	}

	get(tenant: string, name: string): DeployedFunction | undefined {
		const [row] = this.#sql
			.exec<FunctionRow>(
				"SELECT body, module, format FROM deployments WHERE tenant = ? AND name = ?",
				tenant,
				name,
			)
			.toArray();
		return row === undefined ? undefined : this.#read(row);
	}

	/** A tenant's functions, by name; without one all of the node's. */
	list(tenant?: string): DeployedFunction[] {
		return this.#sql
			.exec<FunctionRow>(
				"SELECT body, module, format FROM deployments WHERE tenant = coalesce(?, tenant) ORDER BY tenant, name",
				tenant ?? null,
			)
			.toArray()
			.map((row) => this.#read(row));
	}

	/** Whether there was such a function. */
	async delete(tenant: string, name: string): Promise<boolean> {
		const deleted = this.#storage.transactionSync(() => {
			const { rowsWritten } = this.#sql.exec(
				"DELETE FROM deployments WHERE tenant = ? AND name = ?",
				tenant,
				name,
			);
			this.#collect();
			return rowsWritten > 0;
		});
		await this.#storage.sync();
		return deleted;
	}

	/** Notes that a tenant has put an application's files, of this SHA-256 in hex, to the node. */
	async putBundle(tenant: string, digest: string): Promise<void> {
		this.#sql.exec("INSERT OR IGNORE INTO bundles (tenant, digest) VALUES (?, ?)", tenant, digest);
		await this.#storage.sync();
	}

	hasBundle(tenant: string, digest: string): boolean {
		const rows = this.#sql.exec("SELECT 1 FROM bundles WHERE tenant = ? AND digest = ?", tenant, digest);
		return rows.toArray().length > 0;
	}

	tenants(): KnownTenant[] {
		return this.#tenants.list();
	}

	/** Keeps a tenant, or what is new of it. It is on the disk when this returns. */
	async putTenant(tenant: KnownTenant): Promise<void> {
		this.#tenants.put(tenant);
		await this.#storage.sync();
	}

	/** Removes a tenant with all that is its. */
	async deleteTenant(name: string): Promise<void> {
		this.#storage.transactionSync(() => {
			this.#tenants.delete(name);
			this.#sql.exec("DELETE FROM deployments WHERE tenant = ?", name);
			this.#sql.exec("DELETE FROM bundles WHERE tenant = ?", name);
			this.#collect();
		});
		await this.#storage.sync();
	}

	#hasRoom(tenant: string, name: string): boolean {
		const { count } = this.#sql
			.exec<{ count: number }>(
				"SELECT count(*) AS count FROM deployments WHERE tenant = ? AND name <> ?",
				tenant,
				name,
			)
			.one();
		return count < MAX_FUNCTIONS;
	}

	/** Takes over what was deployed before there were tenants. */
	#adopt(): void {
		const old = this.#sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'functions'");
		if (old.toArray().length === 0) return;
		this.#storage.transactionSync(() => {
			this.#sql.exec(
				`INSERT OR IGNORE INTO deployments (tenant, name, body, module, format)
					SELECT ?, name, json_set(body, '$.tenant', ?), module, format FROM functions`,
				DEFAULT_TENANT,
				DEFAULT_TENANT,
			);
			this.#sql.exec(
				`INSERT OR IGNORE INTO bundles (tenant, digest)
					SELECT ?, substr(json_extract(body, '$.bundle'), 8) FROM functions`,
				DEFAULT_TENANT,
			);
			this.#sql.exec("DROP TABLE functions");
		});
	}

	#read({ body, module: digest, format }: FunctionRow): DeployedFunction {
		const { artifact, ...kept } = JSON.parse(body) as Kept;
		if (digest === null) return kept;
		const bytes = this.#blob(digest, "module");
		const module: ScriptModule =
			format === "wasm"
				? { digest, format: "wasm", bytes, ...(artifact && { plain: true }) }
				: { digest, format: "js", source: new TextDecoder().decode(bytes) };
		const sourceMap = new TextDecoder().decode(this.#blob(digest, "map"));
		const script = { module, ...(sourceMap !== "" && { sourceMap }), ...(artifact && { artifact }) };
		return { ...kept, script };
	}

	#putBlob(digest: string, kind: string, bytes: Uint8Array): void {
		for (let at = 0, part = 0; at < bytes.length; at += CHUNK_BYTES, part++) {
			this.#sql.exec(
				"INSERT OR REPLACE INTO blobs (digest, kind, part, bytes) VALUES (?, ?, ?, ?)",
				digest,
				kind,
				part,
				bytes.slice(at, at + CHUNK_BYTES).buffer,
			);
		}
	}

	#blob(digest: string, kind: string): Uint8Array {
		const parts = this.#sql
			.exec<{ bytes: ArrayBuffer }>(
				"SELECT bytes FROM blobs WHERE digest = ? AND kind = ? ORDER BY part",
				digest,
				kind,
			)
			.toArray()
			.map((row) => new Uint8Array(row.bytes));
		const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
		let at = 0;
		for (const part of parts) {
			whole.set(part, at);
			at += part.length;
		}
		return whole;
	}

	/** Drops initscripts that no function has any more. */
	#collect(): void {
		this.#sql.exec(
			"DELETE FROM blobs WHERE digest NOT IN (SELECT module FROM deployments WHERE module IS NOT NULL)",
		);
	}
}
