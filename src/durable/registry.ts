import { DurableObject } from "cloudflare:workers";
import type { ScriptModule } from "../isolates/protocol.ts";
import type { DeployedFunction } from "../shared/function.ts";

/** SQLite values hold at most 2 MB. */
const CHUNK_BYTES = 1 << 20;

/** What is kept of a function as JSON; its initscript's bytes are apart. */
type Kept = Omit<DeployedFunction, "script">;

interface FunctionRow extends Record<string, SqlStorageValue> {
	body: string;
	module: string | null;
	format: string | null;
}

/** The deployed functions and their initscripts, in SQLite. */
export class Registry extends DurableObject<unknown> {
	readonly #sql: SqlStorage;
	readonly #storage: DurableObjectStorage;

	constructor(ctx: DurableObjectState, env: unknown) {
		super(ctx, env);
		this.#storage = ctx.storage;
		this.#sql = ctx.storage.sql;
		this.#sql.exec(`CREATE TABLE IF NOT EXISTS functions (
			name TEXT PRIMARY KEY, body TEXT NOT NULL, module TEXT, format TEXT
		) WITHOUT ROWID`);
		this.#sql.exec(`CREATE TABLE IF NOT EXISTS blobs (
			digest TEXT NOT NULL, kind TEXT NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL,
			PRIMARY KEY (digest, kind, part)
		) WITHOUT ROWID`);
	}

	/** Keeps a function in the place of its older version. It is on the disk when this returns. */
	async put(it: DeployedFunction): Promise<void> {
		const { script, ...kept } = it;
		this.#storage.transactionSync(() => {
			this.#sql.exec(
				"INSERT OR REPLACE INTO functions (name, body, module, format) VALUES (?, ?, ?, ?)",
				it.manifest.name,
				JSON.stringify(kept satisfies Kept),
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
	}

	get(name: string): DeployedFunction | undefined {
		const [row] = this.#sql
			.exec<FunctionRow>("SELECT body, module, format FROM functions WHERE name = ?", name)
			.toArray();
		return row === undefined ? undefined : this.#read(row);
	}

	/** All functions, by name. */
	list(): DeployedFunction[] {
		return this.#sql
			.exec<FunctionRow>("SELECT body, module, format FROM functions ORDER BY name")
			.toArray()
			.map((row) => this.#read(row));
	}

	/** Whether there was such a function. */
	async delete(name: string): Promise<boolean> {
		const deleted = this.#storage.transactionSync(() => {
			const { rowsWritten } = this.#sql.exec("DELETE FROM functions WHERE name = ?", name);
			this.#collect();
			return rowsWritten > 0;
		});
		await this.#storage.sync();
		return deleted;
	}

	#read({ body, module: digest, format }: FunctionRow): DeployedFunction {
		const kept = JSON.parse(body) as Kept;
		if (digest === null) return kept;
		const bytes = this.#blob(digest, "module");
		const module: ScriptModule =
			format === "wasm"
				? { digest, format: "wasm", bytes }
				: { digest, format: "js", source: new TextDecoder().decode(bytes) };
		const sourceMap = new TextDecoder().decode(this.#blob(digest, "map"));
		return { ...kept, script: sourceMap === "" ? { module } : { module, sourceMap } };
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
			"DELETE FROM blobs WHERE digest NOT IN (SELECT module FROM functions WHERE module IS NOT NULL)",
		);
	}
}
