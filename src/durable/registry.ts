import { DurableObject } from "cloudflare:workers";
import type { ScriptModule } from "../isolates/protocol.ts";
import type { DeployedFunction, DeployedScript } from "../shared/function.ts";
import type { FunctionSummary } from "../shared/function-summary.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { type BundleBytes, BundleTable } from "./bundle-table.ts";
import { TenantTable } from "./tenant-table.ts";
import type { KnownTenant } from "./tenants.ts";

/** Of one tenant. */
export const MAX_FUNCTIONS = 256;

/** SQLite values hold at most 2 MB. */
const CHUNK_BYTES = 1 << 20;

/** Of one page of a list: an RPC's answer has 32 MiB at most. A function's JSON has less than this. */
const PAGE_BYTES = 4 << 20;

/** What a list says of a function: nothing of its initscript's bytes. */
export type ListedFunction = FunctionSummary & Pick<DeployedFunction, "tenant">;

export interface FunctionPage {
	functions: ListedFunction[];
	/** Whether there are others behind the last one. */
	more: boolean;
}

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
	readonly #bundles: BundleTable;

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
		this.#sql.exec(`CREATE TABLE IF NOT EXISTS maps (
			tenant TEXT NOT NULL, name TEXT NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL,
			PRIMARY KEY (tenant, name, part)
		) WITHOUT ROWID`);
		this.#bundles = new BundleTable(this.#sql);
		this.#tenants = new TenantTable(this.#sql);
		this.#adopt();
		this.#adoptMaps();
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
				this.#putMap(it, sourceMap);
			} else this.#putMap(it, undefined);
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

	/** A tenant's functions, by name, as many as fit behind another one; without a tenant all of the node's. */
	list(tenant?: string, after?: { tenant: string; name: string }): FunctionPage {
		const rows = this.#sql.exec<FunctionRow>(
			`SELECT body, module, format FROM deployments
				WHERE tenant = coalesce(?, tenant) AND (tenant, name) > (?, ?) ORDER BY tenant, name`,
			tenant ?? null,
			after?.tenant ?? "",
			after?.name ?? "",
		);
		const page: FunctionRow[] = [];
		let left = PAGE_BYTES;
		for (const row of rows) {
			left -= row.body.length;
			if (left < 0 && page.length > 0) return { functions: page.map((row) => this.#listed(row)), more: true };
			page.push(row);
		}
		return { functions: page.map((row) => this.#listed(row)), more: false };
	}

	/** Of the version with this initscript; undefined where it has none, or another was deployed. */
	sourceMap(tenant: string, name: string, digest: string): string | undefined {
		const parts = this.#sql
			.exec<{ bytes: ArrayBuffer }>(
				`SELECT maps.bytes FROM maps JOIN deployments USING (tenant, name)
					WHERE tenant = ? AND name = ? AND module = ? ORDER BY part`,
				tenant,
				name,
				digest,
			)
			.toArray();
		return parts.length === 0 ? undefined : new TextDecoder().decode(joined(parts));
	}

	/** Whether a function of another tenant has this image ("registry/name@sha256:…"). */
	isOthersImage(image: string, tenant: string): boolean {
		const rows = this.#sql.exec(
			"SELECT 1 FROM deployments WHERE tenant <> ? AND json_extract(body, '$.manifest.app.image') = ? LIMIT 1",
			tenant,
			image,
		);
		return rows.toArray().length > 0;
	}

	/** Whether there was such a function. */
	async delete(tenant: string, name: string): Promise<boolean> {
		const deleted = this.#storage.transactionSync(() => {
			const { rowsWritten } = this.#sql.exec(
				"DELETE FROM deployments WHERE tenant = ? AND name = ?",
				tenant,
				name,
			);
			this.#sql.exec("DELETE FROM maps WHERE tenant = ? AND name = ?", tenant, name);
			this.#collect();
			return rowsWritten > 0;
		});
		await this.#storage.sync();
		return deleted;
	}

	/**
	 * Notes that a tenant has put an application's files, of this SHA-256 in hex, which take so many bytes of the node's disk; not
	 * where they would break one of these bounds, which is the answer then.
	 */
	async putBundle(
		tenant: string,
		digest: string,
		bytes: number,
		most: BundleBytes,
	): Promise<keyof BundleBytes | undefined> {
		const broken = this.#bundles.put(tenant, digest, bytes, most);
		await this.#storage.sync();
		return broken;
	}

	/** Those that were put when nobody counted. */
	unmeasuredBundles(): string[] {
		return this.#bundles.unmeasured();
	}

	measureBundle(digest: string, bytes: number): void {
		this.#bundles.measure(digest, bytes);
	}

	/** Whoever asks is about to use them. */
	hasBundle(tenant: string, digest: string): boolean {
		return this.#bundles.has(tenant, digest);
	}

	bundleBytes(tenant: string): BundleBytes {
		return this.#bundles.bytes(tenant);
	}

	/** Forgets files that no deployed version uses and that nobody asked for since then; only one tenant's where one is named. */
	async forgetBundles(before: number, tenant?: string): Promise<void> {
		this.#bundles.forget(before, tenant);
		await this.#storage.sync();
	}

	/** Those of these that nobody has. */
	unknownBundles(digests: readonly string[]): string[] {
		return this.#bundles.unknown(digests);
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
			this.#sql.exec("DELETE FROM maps WHERE tenant = ?", name);
			this.#bundles.drop(name);
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
				? { digest, format: "wasm", bytes, ...(artifact && !artifact.metered && { plain: true }) }
				: { digest, format: "js", source: new TextDecoder().decode(bytes) };
		return { ...kept, script: { module, ...(artifact && { artifact }) } };
	}

	#listed({ body, module, format }: FunctionRow): ListedFunction {
		const { artifact, manifest, ...kept } = JSON.parse(body) as Kept;
		const listed = { ...kept, name: manifest.name, isolation: manifest.app.isolation, manifest };
		if (module === null || (format !== "wasm" && format !== "js")) return listed;
		const { bytes } = this.#sql
			.exec<{ bytes: number | null }>(
				"SELECT sum(length(bytes)) AS bytes FROM blobs WHERE digest = ? AND kind = 'module'",
				module,
			)
			.one();
		const from = artifact === undefined ? {} : { artifact: artifact.reference };
		return { ...listed, initscript: { digest: module, format, bytes: bytes ?? 0, ...from } };
	}

	/** Its own source map, whoever else has deployed the same initscript, in the place of the one before. */
	#putMap({ tenant, manifest }: DeployedFunction, sourceMap = ""): void {
		this.#sql.exec("DELETE FROM maps WHERE tenant = ? AND name = ?", tenant, manifest.name);
		for (const [part, bytes] of chunks(new TextEncoder().encode(sourceMap)).entries()) {
			this.#sql.exec(
				"INSERT INTO maps (tenant, name, part, bytes) VALUES (?, ?, ?, ?)",
				tenant,
				manifest.name,
				part,
				bytes,
			);
		}
	}

	/** They were kept with the initscripts, which tenants share. */
	#adoptMaps(): void {
		const old = this.#sql.exec("SELECT 1 FROM blobs WHERE kind = 'map' LIMIT 1");
		if (old.toArray().length === 0) return;
		this.#storage.transactionSync(() => {
			this.#sql.exec(
				`INSERT OR IGNORE INTO maps (tenant, name, part, bytes)
					SELECT tenant, name, part, bytes FROM deployments JOIN blobs ON digest = module AND kind = 'map'`,
			);
			this.#sql.exec("DELETE FROM blobs WHERE kind = 'map'");
		});
	}

	#putBlob(digest: string, kind: string, bytes: Uint8Array): void {
		this.#sql.exec("DELETE FROM blobs WHERE digest = ? AND kind = ?", digest, kind);
		for (const [part, piece] of chunks(bytes).entries()) {
			this.#sql.exec(
				"INSERT INTO blobs (digest, kind, part, bytes) VALUES (?, ?, ?, ?)",
				digest,
				kind,
				part,
				piece,
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
			.toArray();
		return joined(parts);
	}

	/** Drops initscripts that no function has any more. */
	#collect(): void {
		this.#sql.exec(
			"DELETE FROM blobs WHERE digest NOT IN (SELECT module FROM deployments WHERE module IS NOT NULL)",
		);
	}
}

/** In pieces that a value of SQLite's can hold. */
function chunks(bytes: Uint8Array): ArrayBuffer[] {
	const pieces: ArrayBuffer[] = [];
	for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
		pieces.push(bytes.slice(at, at + CHUNK_BYTES).buffer);
	return pieces;
}

function joined(parts: readonly { bytes: ArrayBuffer }[]): Uint8Array {
	const whole = new Uint8Array(parts.reduce((sum, { bytes }) => sum + bytes.byteLength, 0));
	let at = 0;
	for (const { bytes } of parts) {
		whole.set(new Uint8Array(bytes), at);
		at += bytes.byteLength;
	}
	return whole;
}
