import { isOver, type ServiceInstance } from "../../shared/service.ts";

/** How many of a tenant's services that have ended are kept. */
const MAX_ENDED = 100;

/** A service as it is kept. */
export interface KeptService extends ServiceInstance {
	tenant: string;
	/** How many restarts there were in a row. */
	row: number;
	/** When its present instance became ready, Unix milliseconds. */
	readyAt?: number;
}

interface Row extends Record<string, SqlStorageValue> {
	body: string;
	input: ArrayBuffer;
}

/** The services in SQLite, with the input of each one's initscript. */
export class ServiceTable {
	readonly #sql: SqlStorage;

	constructor(sql: SqlStorage) {
		this.#sql = sql;
		this.#sql.exec(`CREATE TABLE IF NOT EXISTS services (
			id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, live INTEGER NOT NULL, started_at INTEGER NOT NULL,
			body TEXT NOT NULL, input BLOB NOT NULL
		) WITHOUT ROWID`);
	}

	add(it: KeptService, input: Uint8Array): void {
		this.#sql.exec(
			"INSERT INTO services (id, tenant, name, live, started_at, body, input) VALUES (?, ?, ?, 1, ?, ?, ?)",
			it.id,
			it.tenant,
			it.service,
			it.startedAt,
			JSON.stringify(it),
			input.slice().buffer,
		);
	}

	/** Keeps what is new of it. One that has ended needs its input no more. */
	put(it: KeptService): void {
		const live = isOver(it.state) ? 0 : 1;
		this.#sql.exec("UPDATE services SET live = ?, body = ? WHERE id = ?", live, JSON.stringify(it), it.id);
		if (live === 1) return;
		this.#sql.exec("UPDATE services SET input = x'' WHERE id = ?", it.id);
		this.#sql.exec(
			`DELETE FROM services WHERE id IN
				(SELECT id FROM services WHERE tenant = ? AND live = 0 ORDER BY started_at DESC LIMIT -1 OFFSET ?)`,
			it.tenant,
			MAX_ENDED,
		);
	}

	get(id: string): KeptService | undefined {
		const [row] = this.#sql.exec<Row>("SELECT body FROM services WHERE id = ?", id).toArray();
		return row === undefined ? undefined : (JSON.parse(row.body) as KeptService);
	}

	input(id: string): Uint8Array {
		const [row] = this.#sql.exec<Row>("SELECT input FROM services WHERE id = ?", id).toArray();
		return new Uint8Array(row?.input ?? new ArrayBuffer(0));
	}

	/** A tenant's, of one name or of all, the newest first; without a tenant all that have not ended. */
	list(tenant?: string, name?: string): KeptService[] {
		const rows =
			tenant === undefined
				? this.#sql.exec<Row>("SELECT body FROM services WHERE live = 1 ORDER BY started_at DESC")
				: this.#sql.exec<Row>(
						"SELECT body FROM services WHERE tenant = ? AND name = coalesce(?, name) ORDER BY started_at DESC",
						tenant,
						name ?? null,
					);
		return rows.toArray().map(({ body }) => JSON.parse(body) as KeptService);
	}

	/** How many of a tenant's have not ended. */
	live(tenant: string): number {
		const { count } = this.#sql
			.exec<{ count: number }>("SELECT count(*) AS count FROM services WHERE tenant = ? AND live = 1", tenant)
			.one();
		return count;
	}

	drop(tenant: string): void {
		this.#sql.exec("DELETE FROM services WHERE tenant = ?", tenant);
	}
}
