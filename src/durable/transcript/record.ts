/** Makes the record of an instance: the timeline and the findings, as the HTTP API gives them. */
import type { Event } from "../../bridge/generated/bridge.ts";
import type { ErrorValue } from "../../shared/error.ts";
import { nearest } from "../../shared/nearest.ts";
import type { Missed, TraceEvent, Unclaimed } from "../../shared/record.ts";
import { shown } from "./shown.ts";
import type { State } from "./state.ts";

/** How much of misses is compared with what was sent, letters by letters: some 20 ms. */
const MAX_COMPARED = 5_000_000;

/** One edge of the timeline. */
export function traceEvent(event: Event): TraceEvent {
	const base = { at: Number(event.at), kind: event.which };
	switch (event.which) {
		case "sandboxCreated":
			return { ...base, id: String(event.sandboxCreated) };
		case "appConnected":
			return { ...base, text: event.appConnected };
		case "invocationTaken":
			return { ...base, id: String(event.invocationTaken) };
		case "answerBegun":
			return { ...base, id: String(event.answerBegun) };
		case "answerEnded": {
			const { invocation, bytes, error } = event.answerEnded;
			return { ...base, id: String(invocation), bytes: Number(bytes), ...failure(error) };
		}
		case "mark":
			return { ...base, text: event.mark };
		case "noted":
			return { ...base, text: event.noted };
		case "log":
			return { ...base, id: event.log.stream, text: event.log.text };
		case "sandboxExited": {
			const { status, signal, error } = event.sandboxExited;
			return { ...base, status, ...(signal > 0 ? { text: `signal ${signal}` } : {}), ...failure(error) };
		}
		case "imagePulled": {
			const { image, bytes, layers } = event.imagePulled;
			return { ...base, content: image, bytes: Number(bytes), text: `${layers} layers` };
		}
		case "imageUnpacked":
			return { ...base, bytes: Number(event.imageUnpacked) };
		case "initscriptPulled": {
			const { artifact, bytes, nanos } = event.initscriptPulled;
			return { ...base, content: artifact, bytes: Number(bytes), nanos: Number(nanos) };
		}
		case "rpcAccepted":
			return { ...base, id: String(event.rpcAccepted.rpc), content: shown(event.rpcAccepted.content) };
		case "rpcSent": {
			const { rpc, reused, attempt } = event.rpcSent;
			return { ...base, id: String(rpc), reused, attempts: attempt };
		}
		case "rpcShared":
			return { ...base, id: String(event.rpcShared.rpc), nanos: Number(event.rpcShared.ageNanos) };
		case "rpcFirstByte":
			return { ...base, id: String(event.rpcFirstByte) };
		case "rpcDone": {
			const { rpc, reply, error } = event.rpcDone;
			const { status, length, attempts, place, offset } = reply;
			const done = { ...base, id: String(rpc), status, bytes: Number(length), attempts };
			const lies = place === "" ? {} : { place, offset: Number(offset) };
			return { ...done, ...lies, ...failure(error) };
		}
		case "claimed": {
			const { id, content, diverges } = event.claimed;
			const told = { ...base, id: String(id), content: shown(content) };
			return diverges === "" ? told : { ...told, diverges: shown(diverges) };
		}
		case "served": {
			const { id, bytes, waitedNanos, error } = event.served;
			return { ...base, id: String(id), bytes: Number(bytes), nanos: Number(waitedNanos), ...failure(error) };
		}
		case "called": {
			const { content, status, bytes, nanos, error } = event.called;
			const call = { ...base, content: shown(content), status, bytes: Number(bytes), nanos: Number(nanos) };
			return { ...call, ...failure(error) };
		}
		case "published":
			return { ...base, id: String(event.published) };
		case "messageFailed":
			return { ...base, id: String(event.messageFailed.id), ...failure(event.messageFailed.error) };
		case "appMessage":
			return { ...base, id: String(event.appMessage.id), bytes: Number(event.appMessage.length) };
		case "connOffered":
			return { ...base, id: String(event.connOffered.id), content: event.connOffered.address };
		case "connReady": {
			const { id, address, error } = event.connReady;
			return { ...base, id: String(id), content: address, ...failure(error) };
		}
		case "connTaken": {
			const { id, address, kind, error } = event.connTaken;
			return { ...base, id: String(id), content: address, text: kind, ...failure(error) };
		}
		case "connClosed": {
			const { id, address, received, sent, error } = event.connClosed;
			return {
				...base,
				id: String(id),
				content: address,
				bytes: Number(received),
				sent: Number(sent),
				...failure(error),
			};
		}
		case "connReleased":
			return { ...base, id: String(event.connReleased.id), content: event.connReleased.address };
		case "ended":
			return { ...base, text: event.ended.reason, bytes: Number(event.ended.unclaimedBytes) };
		default:
			return base;
	}
}

/** Fetched, sent or handed over, and never claimed. */
export function unclaimed(state: State): Unclaimed[] {
	const found: Unclaimed[] = [];
	for (const [id, message] of state.messages) {
		if (message.phase !== "sent" && message.phase !== "voided") continue;
		const rpc = message.rpc === undefined ? undefined : state.rpcs.get(message.rpc);
		found.push({
			id: String(id),
			content: shown(rpc?.content ?? ""),
			bytes: rpcBytes(rpc?.outcome) ?? message.bytes,
		});
	}
	for (const { id, address, phase } of state.transfers.values()) {
		if (phase === "sent" || phase === "voided") found.push({ id: String(id), content: address, bytes: 0 });
	}
	for (const { id, address, conn } of state.offers.values()) {
		if (conn === undefined) found.push({ id: String(id), content: address, bytes: 0 });
	}
	for (const [id, { length, received }] of state.appMessages) {
		if (!received) found.push({ id: String(id), content: "of the application", bytes: length });
	}
	return found;
}

/** The misses, each with what was sent that is most like it. */
export function missed(state: State): Missed[] {
	const sent = new Set<string>();
	for (const { content } of state.rpcs.values()) if (content !== "") sent.add(content);
	const patience = { left: MAX_COMPARED };
	return state.missed.map((it) => {
		const similar = it.content === "" ? undefined : nearest(it.content, sent, patience);
		const told = { ...it, content: shown(it.content) };
		return similar === undefined ? told : { ...told, nearest: shown(similar) };
	});
}

function rpcBytes(outcome: { ok: { length: number } } | { error: unknown } | undefined): number | undefined {
	return outcome !== undefined && "ok" in outcome ? outcome.ok.length : undefined;
}

function failure(error: ErrorValue): { error?: ErrorValue } {
	return error.code === "ok" ? {} : { error };
}
