/** How much of the node's disk applications' files take: a tenant's, and all. */
export interface BundleBytes {
	tenant: number;
	node: number;
}

/** Which tenants have put which applications' files, in SQLite. A file that several have put is on the disk once. */
export class BundleTable {
	readonly #sql: SqlStorage;

	constructor(sql: SqlStorage) {
		this.#sql = sql;
		this.#sql.exec(`CREATE TABLE IF NOT EXISTS bundles (
			tenant TEXT NOT NULL, digest TEXT NOT NULL, bytes INTEGER NOT NULL DEFAULT 0, used_at INTEGER NOT NULL DEFAULT 0,
			PRIMARY KEY (tenant, digest)
		) WITHOUT ROWID`);
		const columns = this.#sql
			.exec<{ name: string }>("SELECT name FROM pragma_table_info('bundles')")
			.toArray();
		if (columns.some(({ name }) => name === "bytes")) return;
		// They were kept without.
		for (const column of ["bytes", "used_at"])
			this.#sql.exec(`ALTER TABLE bundles ADD COLUMN ${column} INTEGER NOT NULL DEFAULT 0`);
	}

	/** Notes that a tenant has them, where that keeps within these bounds; else gives the one that it would break. */
	put(tenant: string, digest: string, bytes: number, most: BundleBytes): keyof BundleBytes | undefined {
		const others = this.bytes(tenant, digest);
		if (others.tenant + bytes > most.tenant) return "tenant";
		if (others.node + bytes > most.node) return "node";
		this.#sql.exec(
			"INSERT OR REPLACE INTO bundles (tenant, digest, bytes, used_at) VALUES (?, ?, ?, ?)",
			tenant,
			digest,
			bytes,
			Date.now(),
		);
		return undefined;
	}

	/** Those of which nobody has said how much they take. */
	unmeasured(): string[] {
		return this.#sql
			.exec<{ digest: string }>("SELECT DISTINCT digest FROM bundles WHERE bytes = 0")
			.toArray()
			.map(({ digest }) => digest);
	}

	measure(digest: string, bytes: number): void {
		this.#sql.exec("UPDATE bundles SET bytes = ? WHERE digest = ? AND bytes = 0", bytes, digest);
	}

	/** Whether a tenant has them. They are kept for a while longer then. */
	has(tenant: string, digest: string): boolean {
		const { rowsWritten } = this.#sql.exec(
			"UPDATE bundles SET used_at = ? WHERE tenant = ? AND digest = ?",
			Date.now(),
			tenant,
			digest,
		);
		return rowsWritten > 0;
	}

	/** @param except one that is not counted */
	bytes(tenant: string, except = ""): BundleBytes {
		return this.#sql
			.exec<BundleBytes & Record<string, number>>(
				`SELECT
					(SELECT coalesce(sum(bytes), 0) FROM bundles WHERE tenant = ? AND digest <> ?) AS tenant,
					(SELECT coalesce(sum(bytes), 0) FROM
						(SELECT max(bytes) AS bytes FROM bundles WHERE digest <> ? GROUP BY digest)) AS node`,
				tenant,
				except,
				except,
			)
			.one();
	}

	/** Forgets what no deployed version of the tenant's uses and nobody has used since `before`, Unix milliseconds. */
	forget(before: number, tenant?: string): void {
		this.#sql.exec(
			`DELETE FROM bundles WHERE used_at < ? AND tenant = coalesce(?, tenant) AND NOT EXISTS (
				SELECT 1 FROM deployments
				WHERE deployments.tenant = bundles.tenant AND json_extract(body, '$.bundle') = 'sha256:' || digest
			)`,
			before,
			tenant ?? null,
		);
	}

	/** Those of these that are no tenant's. */
	unknown(digests: readonly string[]): string[] {
		const known = new Set(
			this.#sql
				.exec<{ digest: string }>(
					`SELECT digest FROM bundles
						UNION SELECT substr(json_extract(body, '$.bundle'), 8) AS digest FROM deployments`,
				)
				.toArray()
				.map(({ digest }) => digest),
		);
		return digests.filter((digest) => !known.has(digest));
	}

	drop(tenant: string): void {
		this.#sql.exec("DELETE FROM bundles WHERE tenant = ?", tenant);
	}
}
