import { DurableObject } from "cloudflare:workers";
import type { InstanceRecord, InstanceSummary } from "../shared/record.ts";

/** How many records are kept, and for how long. */
const MAX_RECORDS = 1000;
const MAX_AGE_MS = 7 * 24 * 3_600_000;

/** SQLite values hold at most 2 MB; a character may take three bytes. */
const MAX_RECORD_CHARACTERS = 600_000;

interface Row extends Record<string, SqlStorageValue> {
	boot: string;
	summary: string;
	record: string | null;
}

/**
 * The records of instances, in SQLite. An instance is noted when it starts, off its path, and its record comes when it has
 * ended; what a node's earlier life left unfinished reads `interrupted`. `boot` names the host's life.
 */
export class Log extends DurableObject<unknown> {
	readonly #sql: SqlStorage;

	constructor(ctx: DurableObjectState, env: unknown) {
		super(ctx, env);
		this.#sql = ctx.storage.sql;
		this.#sql.exec(`CREATE TABLE IF NOT EXISTS instances (
			id TEXT PRIMARY KEY, boot TEXT NOT NULL, started_at INTEGER NOT NULL, summary TEXT NOT NULL, record TEXT
		) WITHOUT ROWID`);
		this.#sql.exec("CREATE INDEX IF NOT EXISTS by_start ON instances (started_at)");
	}

	begin(boot: string, summary: InstanceSummary): void {
		this.#sql.exec(
			"INSERT OR IGNORE INTO instances (id, boot, started_at, summary) VALUES (?, ?, ?, ?)",
			summary.id,
			boot,
			summary.startedAt,
			JSON.stringify(summary),
		);
	}

	finish(boot: string, record: InstanceRecord): void {
		this.#sql.exec(
			"INSERT OR REPLACE INTO instances (id, boot, started_at, summary, record) VALUES (?, ?, ?, ?, ?)",
			record.id,
			boot,
			record.startedAt,
			JSON.stringify(summaryOf(record)),
			bounded(record),
		);
		this.#retain(record.startedAt);
	}

	/** The record as JSON; undefined for an instance that was never here or whose time is over. */
	get(boot: string, id: string): InstanceRecord | undefined {
		const [row] = this.#sql
			.exec<Row>("SELECT boot, summary, record FROM instances WHERE id = ?", id)
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

	/** The newest first. */
	list(boot: string, limit: number): InstanceSummary[] {
		return this.#sql
			.exec<Row>("SELECT boot, summary, record FROM instances ORDER BY started_at DESC LIMIT ?", limit)
			.toArray()
			.map((row) => current(row, boot));
	}

	#retain(now: number): void {
		this.#sql.exec("DELETE FROM instances WHERE started_at < ?", now - MAX_AGE_MS);
		this.#sql.exec(
			`DELETE FROM instances WHERE id IN
				(SELECT id FROM instances ORDER BY started_at DESC LIMIT -1 OFFSET ?)`,
			MAX_RECORDS,
		);
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
