import { DurableObject } from "cloudflare:workers";
import type { InstanceRecord, InstanceSummary } from "../shared/record.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";

/** How many records are kept of a tenant, and for how long. */
const MAX_RECORDS = 1000;
const MAX_AGE_MS = 7 * 24 * 3_600_000;

/** SQLite values hold at most 2 MB; a character may take three bytes. */
const MAX_RECORD_CHARACTERS = 600_000;

/**
 * How long after a write the next one waits, so that records of instances that end at about the same time come with it: a write
 * stops the host's one thread until the disk has it (some ms).
 */
const GATHER_MS = 250;

/** An instance's record that is not on the disk yet. */
interface Ended {
	boot: string;
	tenant: string;
	record: InstanceRecord;
}

interface Row extends Record<string, SqlStorageValue> {
	boot: string;
	summary: string;
	record: string | null;
}

/**
 * The records of instances, in SQLite. An instance is noted when it starts, off its path, and its record comes when it has
 * ended; what a node's earlier life left unfinished reads `interrupted`. `boot` names the host's life.
 *
 * Records of a busy node are written together. What this has told anybody of is on the disk.
 */
export class Log extends DurableObject<unknown> {
	readonly #sql: SqlStorage;
	#ended: Ended[] = [];
	#wroteAt = 0;
	#timer: ReturnType<typeof setTimeout> | null = null;

	constructor(ctx: DurableObjectState, env: unknown) {
		super(ctx, env);
		this.#sql = ctx.storage.sql;
		this.#sql.exec(`CREATE TABLE IF NOT EXISTS instances (
			id TEXT PRIMARY KEY, boot TEXT NOT NULL, started_at INTEGER NOT NULL, summary TEXT NOT NULL, record TEXT,
			tenant TEXT NOT NULL DEFAULT '${DEFAULT_TENANT}'
		) WITHOUT ROWID`);
		// A log from before there were tenants.
		if (!this.#columns().includes("tenant"))
			this.#sql.exec(`ALTER TABLE instances ADD COLUMN tenant TEXT NOT NULL DEFAULT '${DEFAULT_TENANT}'`);
		this.#sql.exec("DROP INDEX IF EXISTS by_start");
		this.#sql.exec("CREATE INDEX IF NOT EXISTS by_tenant ON instances (tenant, started_at)");
	}

	begin(boot: string, tenant: string, summary: InstanceSummary): void {
		this.#sql.exec(
			"INSERT OR IGNORE INTO instances (id, tenant, boot, started_at, summary) VALUES (?, ?, ?, ?, ?)",
			summary.id,
			tenant,
			boot,
			summary.startedAt,
			JSON.stringify(summary),
		);
	}

	finish(boot: string, tenant: string, record: InstanceRecord): void {
		this.#ended.push({ boot, tenant, record });
		this.#timer ??= setTimeout(() => this.write(), this.#wroteAt + GATHER_MS - Date.now());
	}

	/** Writes what has ended. */
	write(): void {
		clearTimeout(this.#timer);
		this.#timer = null;
		const ended = this.#ended.splice(0);
		if (ended.length === 0) return;
		this.ctx.storage.transactionSync(() => {
			for (const it of ended) this.#insert(it);
			for (const tenant of new Set(ended.map(({ tenant }) => tenant))) this.#retain(tenant);
		});
		this.#wroteAt = Date.now();
	}

	/** The record as JSON; undefined for an instance that was never the tenant's or whose time is over. */
	get(boot: string, tenant: string, id: string): InstanceRecord | undefined {
		if (this.#ended.some(({ record }) => record.id === id)) this.write();
		const [row] = this.#sql
			.exec<Row>("SELECT boot, summary, record FROM instances WHERE id = ? AND tenant = ?", id, tenant)
			.toArray();
		if (row === undefined) return undefined;
		if (row.record !== null) return JSON.parse(row.record) as InstanceRecord;
		return {
			...current(row, boot),
			events: [],
			scriptLines: [],
			unclaimed: [],
			missed: [],
			divergences: 0,
		};
	}

	/** A tenant's, the newest first. */
	list(boot: string, tenant: string, limit: number): InstanceSummary[] {
		this.write();
		return this.#sql
			.exec<Row>(
				"SELECT boot, summary, record FROM instances WHERE tenant = ? ORDER BY started_at DESC LIMIT ?",
				tenant,
				limit,
			)
			.toArray()
			.map((row) => current(row, boot));
	}

	/** Forgets a tenant. */
	drop(tenant: string): void {
		this.#ended = this.#ended.filter((it) => it.tenant !== tenant);
		this.#sql.exec("DELETE FROM instances WHERE tenant = ?", tenant);
	}

	#insert({ boot, tenant, record }: Ended): void {
		this.#sql.exec(
			"INSERT OR REPLACE INTO instances (id, tenant, boot, started_at, summary, record) VALUES (?, ?, ?, ?, ?, ?)",
			record.id,
			tenant,
			boot,
			record.startedAt,
			JSON.stringify(summaryOf(record)),
			bounded(record),
		);
	}

	#retain(tenant: string): void {
		this.#sql.exec(
			"DELETE FROM instances WHERE tenant = ? AND started_at < ?",
			tenant,
			Date.now() - MAX_AGE_MS,
		);
		this.#sql.exec(
			`DELETE FROM instances WHERE id IN
				(SELECT id FROM instances WHERE tenant = ? ORDER BY started_at DESC LIMIT -1 OFFSET ?)`,
			tenant,
			MAX_RECORDS,
		);
	}

	#columns(): string[] {
		return this.#sql
			.exec<{ name: string }>("SELECT name FROM pragma_table_info('instances')")
			.toArray()
			.map(({ name }) => name);
	}
}

/** An unfinished instance of another life was interrupted. */
function current({ boot, summary, record }: Row, now: string): InstanceSummary {
	const parsed = JSON.parse(summary) as InstanceSummary;
	if (record !== null || boot === now) return parsed;
	return {
		...parsed,
		state: "interrupted",
		error: { code: "interrupted", message: "the node ended in the middle of this invocation" },
	};
}

/** The record as JSON. One that told too much keeps the beginnings of its lists. */
function bounded(record: InstanceRecord): string {
	let it = record;
	let json = JSON.stringify(it);
	if (json.length > MAX_RECORD_CHARACTERS) {
		const { recording: _, ...rest } = it;
		it = rest;
		json = JSON.stringify(it);
	}
	while (json.length > MAX_RECORD_CHARACTERS) {
		const { events, scriptLines, unclaimed, missed } = it;
		if (events.length + scriptLines.length + unclaimed.length + missed.length === 0) break;
		it = {
			...it,
			events: half(events),
			scriptLines: half(scriptLines),
			unclaimed: half(unclaimed),
			missed: half(missed),
		};
		json = JSON.stringify(it);
	}
	return json;
}

function half<T>(list: T[]): T[] {
	return list.slice(0, list.length >> 1);
}

function summaryOf(record: InstanceRecord): InstanceSummary {
	const { id, function: name, digest, mode, state, startedAt, endedAt, invocations, error } = record;
	return {
		id,
		function: name,
		digest,
		mode,
		state,
		startedAt,
		invocations,
		...(endedAt === undefined ? {} : { endedAt }),
		...(error === undefined ? {} : { error }),
	};
}
