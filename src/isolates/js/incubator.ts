/** Makes isolates ahead of their runs. An isolate lives as long as the request that made it: here, as long as its stub. */
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";
import { within } from "../deadline.ts";
import type { HostApi, ScriptExit } from "../protocol.ts";
import { deadlineEnd } from "../script/end.ts";
import { JsCell } from "./cell.ts";

export class Incubator extends WorkerEntrypoint<{ LOADER: WorkerLoader }> {
	/** A started isolate with its script loaded, but not run. */
	async hatch(source: string): Promise<SpareCell> {
		const cell = new JsCell(this.env.LOADER, source);
		const reason = await cell.check();
		if (reason !== undefined) throw new Error(reason);
		return new SpareCell(cell);
	}
}

/** Runs its script once. Disposing of its stub frees the isolate. */
export class SpareCell extends RpcTarget {
	readonly #cell: JsCell;

	constructor(cell: JsCell) {
		super();
		this.#cell = cell;
	}

	/** Ends at the deadline too: a call that never ends would keep the isolate for ever. */
	run(input: Uint8Array, host: HostApi, deadlineMs: number): Promise<ScriptExit> {
		return within(deadlineMs, this.#cell.run(input, host), () => deadlineEnd(deadlineMs));
	}
}
