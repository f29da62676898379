/** What a script reads of replies and messages that have come. */
import type { Instance } from "../../bridge/bridge.ts";
import type { Outcome } from "../../isolates/protocol.ts";
import { HeadstartError } from "../../shared/error.ts";
import type { State } from "./state.ts";

/** Bytes of one read: the bridge's own bound. */
const MAX_READ = 1 << 20;

/** Of a complete reply. */
export async function readReply(
	state: State,
	instance: Instance,
	rpc: bigint,
	offset: number,
	length: number,
): Promise<Outcome<Uint8Array>> {
	const outcome = state.rpcs.get(rpc)?.outcome;
	if (outcome === undefined)
		return { error: { code: "rpcUnknown", message: `RPC ${rpc} has no complete reply` } };
	if ("error" in outcome) return outcome;
	const bytes = Math.min(length, MAX_READ);
	return piece(outcome.ok.body, offset, bytes, () => instance.read(rpc, BigInt(offset), bytes));
}

/** Of a message of the application's that the script has received. */
export async function readMessage(
	state: State,
	instance: Instance,
	id: bigint,
	offset: number,
	length: number,
): Promise<Outcome<Uint8Array>> {
	const message = state.appMessages.get(id);
	if (message?.received !== true)
		return { error: { code: "invalidArgument", message: `message ${id} was not received` } };
	const bytes = Math.min(length, MAX_READ);
	return piece(message.body, offset, bytes, () => instance.readMessage(id, BigInt(offset), bytes));
}

/** Bytes that are here, or what `fetch` gives. */
async function piece(
	body: Uint8Array | undefined,
	offset: number,
	length: number,
	fetch: () => Promise<Uint8Array>,
): Promise<Outcome<Uint8Array>> {
	if (body !== undefined) return { ok: body.slice(offset, offset + length) };
	try {
		return { ok: await fetch() };
	} catch (thrown) {
		return { error: HeadstartError.from(thrown).value() };
	}
}
