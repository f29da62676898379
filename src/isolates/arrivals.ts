/** Things that are about to come, by digest, and who waits for them. */
import { within } from "./deadline.ts";

export class Arrivals<T> {
	readonly #waits = new Map<string, { arrived: PromiseWithResolvers<T | undefined>; waiting: number }>();

	/** The thing, once it has come; undefined when it is known not to come, or after so many milliseconds. */
	async wait(digest: string, milliseconds: number): Promise<T | undefined> {
		const wait = this.#waits.get(digest) ?? { arrived: Promise.withResolvers(), waiting: 0 };
		this.#waits.set(digest, wait);
		wait.waiting += 1;
		const arrived = await within(milliseconds, wait.arrived.promise, () => undefined);
		wait.waiting -= 1;
		if (wait.waiting === 0 && this.#waits.get(digest) === wait) this.#waits.delete(digest);
		return arrived;
	}

	/** It is here, or (undefined) it does not come. */
	settle(digest: string, value: T | undefined): void {
		this.#waits.get(digest)?.arrived.resolve(value);
		this.#waits.delete(digest);
	}
}
