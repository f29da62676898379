import { HeadstartError } from "./error.ts";
import { type Failure, type Fields, type Given, type NativeClient, native } from "./native.ts";

/** What a call gave, and the connection that it came by. */
export interface Answered {
	given: Given;
	client: NativeClient;
}

/** Connections of this process to its bridge. One call at a time on each; more calls at once open more. */
export class Pool {
	readonly #path: string | undefined;
	readonly #idle: NativeClient[] = [];

	constructor(path?: string) {
		this.#path = path;
	}

	/** Runs a call. Throws {@link HeadstartError}. */
	async call(op: number, fields: Fields): Promise<Answered> {
		if (fields.text?.includes("\0")) throw new TypeError("a text has a zero character");
		const client = this.#idle.pop() ?? native.open(this.#path);
		try {
			return { given: await native.call(client, op, fields), client };
		} catch (failure) {
			throw failure instanceof Error ? failure : new HeadstartError(failure as Failure);
		} finally {
			this.#idle.push(client);
		}
	}
}
