/**
 * A client of Cap'n Proto's two-party RPC, level 1: calls, pipelining, cancellation, and capabilities that are released
 * when they are disposed. It offers no capability of its own.
 *
 * Whatever happens to the stream, every call ends: with its result, or with a HeadstartError.
 */
import { type ErrorCode, HeadstartError } from "../../shared/error.ts";
import { Framer } from "../wire/framing.ts";
import type { MessageReader, StructReader } from "../wire/reader.ts";
import type { StructSize, StructWriter } from "../wire/writer.ts";
import {
	bootstrapMessage,
	callMessage,
	type ExceptionType,
	finishMessage,
	type ReturnResult,
	readMessage,
	releaseMessage,
	type Target,
} from "./messages.ts";
import { type ByteStream, Outbox, readChunks } from "./transport.ts";

/** How to send a method's parameters and to read its results. `T` is what the results become: a plain object. */
export interface Method<T> {
	interfaceId: bigint;
	methodId: number;
	paramsSize: StructSize;
	/** Called before the call returns; the message is then complete. */
	writeParams: (params: StructWriter) => void;
	/** `capabilities` gives those in the results by their pointer's index. */
	readResults: (results: StructReader, capabilities: { capability(field: number): Capability }) => T;
}

/** A capability of the peer that we hold `locals` handles of, and that the peer has counted `remotes` times for us. */
interface Import {
	readonly id: number;
	remotes: number;
	locals: number;
}

const EXCEPTION_CODES: Record<ExceptionType, ErrorCode> = {
	failed: "internal",
	overloaded: "tooMany",
	disconnected: "bridgeLost",
	unimplemented: "unsupported",
};

export class Connection {
	/** Resolves with the reason once the stream has ended. */
	readonly closed: Promise<HeadstartError>;
	readonly #stream: ByteStream;
	readonly #framer = new Framer();
	readonly #outbox: Outbox;
	readonly #questions = new Map<number, Pending>();
	readonly #imports = new Map<number, Import>();
	readonly #freeIds: number[] = [];
	#nextId = 0;
	#error: HeadstartError | undefined;
	#resolveClosed: (error: HeadstartError) => void = () => undefined;

	constructor(stream: ByteStream) {
		this.closed = new Promise((resolve) => {
			this.#resolveClosed = resolve;
		});
		this.#stream = stream;
		this.#outbox = new Outbox(stream.writable, (error) => this.close(lost(error)));
		readChunks(stream.readable, (chunk) => this.#receive(chunk)).then(
			() => this.close(lost("its stream ended")),
			(error) => this.close(lost(error)),
		);
	}

	/** Why the connection has ended; undefined while it lives. */
	get error(): HeadstartError | undefined {
		return this.#error;
	}

	/** The peer's first capability; usable at once. */
	bootstrap(): Capability {
		const question = this.#ask<undefined>({ readResults: () => undefined }, (id) => bootstrapMessage(id));
		return question.capability(undefined);
	}

	/** Ends everything that is under way with `error`. Idempotent. */
	close(error: HeadstartError = new HeadstartError("bridgeLost", "the connection was closed")): void {
		if (this.#error !== undefined) return;
		this.#error = error;
		void this.#outbox
			.close()
			.then(() => this.#stream.close?.())
			.catch(() => undefined);
		for (const question of this.#questions.values()) question.fail(error);
		this.#questions.clear();
		this.#imports.clear();
		this.#resolveClosed(error);
	}

	[Symbol.dispose](): void {
		this.close();
	}

	/** For {@link Capability}. */
	call<T>(target: Target, method: Method<T>): Call<T> {
		return this.#ask(method, (questionId) => callMessage({ questionId, target, ...method }));
	}

	/** For {@link Capability}: one handle less. */
	release(entry: Import): void {
		entry.locals -= 1;
		if (entry.locals === 0) this.#releaseUnheld(entry);
	}

	/** For {@link Call}: the answer is not wanted any more. */
	abandon(id: number): void {
		if (this.#error === undefined) this.#outbox.send(finishMessage(id, true));
	}

	#ask<T>(reader: Pick<Method<T>, "readResults">, message: (id: number) => Uint8Array): Question<T> {
		const id = this.#freeIds.pop() ?? this.#nextId++;
		const question = new Question<T>(this, id, reader.readResults);
		if (this.#error !== undefined) {
			this.#freeIds.push(id);
			question.fail(this.#error);
			return question;
		}
		this.#questions.set(id, question);
		this.#outbox.send(message(id));
		return question;
	}

	#receive(chunk: Uint8Array): void {
		try {
			this.#framer.push(chunk);
			for (let it = this.#framer.next(); it !== undefined; it = this.#framer.next()) this.#handle(it);
		} catch (error) {
			this.close(lost(error));
		}
	}

	#handle(message: MessageReader): void {
		const incoming = readMessage(message.root());
		switch (incoming.kind) {
			case "return":
				this.#handleReturn(incoming.answerId, incoming.result);
				break;
			case "resolve":
				if (incoming.importId !== undefined) this.#releaseUnheld(this.#import(incoming.importId));
				break;
			case "abort":
				this.close(new HeadstartError("bridgeLost", `the bridge ended the connection: ${incoming.reason}`));
				break;
			case "unexpected":
				throw new RangeError(`an RPC message of kind ${incoming.which}, which a client does not get`);
			default:
		}
	}

	#handleReturn(id: number, result: ReturnResult): void {
		const question = this.#questions.get(id);
		if (question === undefined) throw new RangeError(`an answer to question ${id}, which was not asked`);
		this.#questions.delete(id);
		// An abandoned question has been finished already; its answer's capabilities are released by the peer.
		if (!question.abandoned) {
			try {
				this.#settle(question, result);
			} catch (error) {
				// Malformed results: nobody else knows the question any more.
				question.fail(lost(error));
				throw error;
			}
			this.#outbox.send(finishMessage(id, false));
		}
		this.#freeIds.push(id);
	}

	#settle(question: Pending, result: ReturnResult): void {
		switch (result.kind) {
			case "results": {
				const entries = result.capabilities.map((id) => (id === undefined ? undefined : this.#import(id)));
				question.fulfil(result.content, (field) => {
					const index = field === undefined ? result.rootCapability : result.content.capability(field);
					return index === undefined ? undefined : entries[index];
				});
				for (const entry of entries) if (entry !== undefined) this.#releaseUnheld(entry);
				break;
			}
			case "exception":
				question.fail(new HeadstartError(EXCEPTION_CODES[result.type], `the bridge: ${result.reason}`));
				break;
			case "canceled":
				question.fail(new HeadstartError("cancelled", "the bridge cancelled the call"));
		}
	}

	#import(id: number): Import {
		const entry = this.#imports.get(id) ?? { id, remotes: 0, locals: 0 };
		this.#imports.set(id, entry);
		entry.remotes += 1;
		return entry;
	}

	#releaseUnheld(entry: Import): void {
		if (entry.locals > 0 || this.#imports.get(entry.id) !== entry) return;
		this.#imports.delete(entry.id);
		if (this.#error === undefined) this.#outbox.send(releaseMessage(entry.id, entry.remotes));
	}
}

/** A call that is under way. */
export interface Call<T> {
	/** Rejects with a HeadstartError only. Need not be awaited. */
	readonly result: Promise<T>;
	/** The capability at this pointer of the results, usable before they are there. One object for each pointer. */
	capability(field: number): Capability;
	/** Tells the peer that the answer is not wanted; the result becomes the error `cancelled`. */
	cancel(): void;
}

/** A question as the connection sees it, whatever its answer's type. */
interface Pending {
	readonly abandoned: boolean;
	fulfil(results: StructReader, importAt: (field: number | undefined) => Import | undefined): void;
	fail(error: HeadstartError): void;
}

class Question<T> implements Call<T>, Pending {
	readonly result: Promise<T>;
	abandoned = false;
	readonly #connection: Connection;
	readonly #id: number;
	readonly #read: Method<T>["readResults"];
	readonly #capabilities = new Map<number | undefined, Capability>();
	#settled = false;
	#resolve: (value: T) => void = () => undefined;
	#reject: (error: HeadstartError) => void = () => undefined;

	constructor(connection: Connection, id: number, read: Method<T>["readResults"]) {
		this.#connection = connection;
		this.#id = id;
		this.#read = read;
		this.result = new Promise((resolve, reject) => {
			this.#resolve = resolve;
			this.#reject = reject;
		});
		this.result.catch(() => undefined);
	}

	capability(field: number | undefined): Capability {
		const known = this.#capabilities.get(field);
		if (known !== undefined) return known;
		const made = new Capability(this.#connection, { questionId: this.#id, field });
		if (this.#settled) made.break(new HeadstartError("protocol", "the answer has no such capability"));
		this.#capabilities.set(field, made);
		return made;
	}

	cancel(): void {
		if (this.#settled) return;
		this.abandoned = true;
		this.#connection.abandon(this.#id);
		this.fail(new HeadstartError("cancelled", "the call was cancelled"));
	}

	fulfil(results: StructReader, importAt: (field: number | undefined) => Import | undefined): void {
		const capabilities = {
			capability: (field: number): Capability => {
				const it = this.capability(field);
				it.resolve(importAt(field));
				return it;
			},
		};
		for (const [field, it] of this.#capabilities) it.resolve(importAt(field));
		const value = this.#read(results, capabilities);
		this.#settled = true;
		this.#resolve(value);
	}

	fail(error: HeadstartError): void {
		if (this.#settled) return;
		this.#settled = true;
		for (const it of this.#capabilities.values()) it.break(error);
		this.#reject(error);
	}
}

/** A handle of something that the peer hosts. Dispose it: only then may the peer forget it. */
export class Capability {
	readonly #connection: Connection;
	#address: Target | Import | HeadstartError;

	constructor(connection: Connection, address: Target) {
		this.#connection = connection;
		this.#address = address;
	}

	call<T>(method: Method<T>): Call<T> {
		const address = this.#address;
		if (address instanceof HeadstartError) {
			const failed = new Question<T>(this.#connection, -1, method.readResults);
			failed.fail(address);
			return failed;
		}
		return this.#connection.call("id" in address ? { importId: address.id } : address, method);
	}

	[Symbol.dispose](): void {
		const address = this.#address;
		if (address instanceof HeadstartError) return;
		this.#address = new HeadstartError("instanceClosed", "the capability was used after it was disposed");
		if ("id" in address) this.#connection.release(address);
	}

	/** The answer is there: from now on the capability itself is addressed. */
	resolve(entry: Import | undefined): void {
		if (!("questionId" in this.#address)) return;
		if (entry === undefined) {
			this.break(new HeadstartError("protocol", "the answer has no such capability"));
			return;
		}
		entry.locals += 1;
		this.#address = entry;
	}

	break(error: HeadstartError): void {
		if ("questionId" in this.#address) this.#address = error;
	}
}

function lost(cause: unknown): HeadstartError {
	const detail = cause instanceof Error ? cause.message : String(cause);
	return new HeadstartError("bridgeLost", `the connection to the bridge was lost: ${detail}`, { cause });
}
