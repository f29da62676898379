import type { Quota } from "../shared/tenant.ts";
import type { KnownTenant } from "./tenants.ts";

interface Row extends Record<string, SqlStorageValue> {
	name: string;
	token_hash: ArrayBuffer;
	quota: string;
	created_at: number;
}

/** The tenants in SQLite. Of a token only its SHA-256 is kept. */
export class TenantTable {
	readonly #sql: SqlStorage;

	constructor(sql: SqlStorage) {
		this.#sql = sql;
		this.#sql.exec(`CREATE TABLE IF NOT EXISTS tenants (
			name TEXT PRIMARY KEY, token_hash BLOB NOT NULL, quota TEXT NOT NULL, created_at INTEGER NOT NULL
		) WITHOUT ROWID`);
	}

	list(): KnownTenant[] {
		return this.#sql
			.exec<Row>("SELECT name, token_hash, quota, created_at FROM tenants ORDER BY name")
			.toArray()
			.map(({ name, token_hash, quota, created_at }) => ({
				name,
				tokenHash: new Uint8Array(token_hash),
				quota: JSON.parse(quota) as Quota,
				createdAt: created_at,
			}));
	}

	put({ name, tokenHash, quota, createdAt }: KnownTenant): void {
		this.#sql.exec(
			"INSERT OR REPLACE INTO tenants (name, token_hash, quota, created_at) VALUES (?, ?, ?, ?)",
			name,
			tokenHash.slice().buffer,
			JSON.stringify(quota),
			createdAt,
		);
	}

	delete(name: string): void {
		this.#sql.exec("DELETE FROM tenants WHERE name = ?", name);
	}
}
