import { expect, test } from "vitest";
import { Gate } from "./gate.ts";

/** Work that lasts until it is told to end. */
class Jobs {
	readonly begun: string[] = [];
	readonly #ends = new Map<string, () => void>();

	start(gate: Gate, tenant: string, name: string): Promise<string> {
		return gate.through(tenant, () => {
			this.begun.push(name);
			return new Promise((resolve) => this.#ends.set(name, () => resolve(name)));
		});
	}

	async end(name: string): Promise<void> {
		this.#ends.get(name)?.();
		await turn();
	}
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
const limits = { most: 3, mostOfTenant: 2, waiting: 1, waitMs: 60_000 };

test("a tenant's third waits, another tenant's goes on; nobody waits behind somebody who may not", async () => {
	const gate = new Gate("jobs", limits);
	const jobs = new Jobs();
	for (const name of ["a1", "a2", "a3"]) void jobs.start(gate, "a", name);
	void jobs.start(gate, "b", "b1");
	void jobs.start(gate, "b", "b2");
	await turn();
	expect(jobs.begun).toEqual(["a1", "a2", "b1"]);
	await expect(jobs.start(gate, "a", "a4")).rejects.toMatchObject({ code: "tooMany", status: 429 });
	await jobs.end("b1");
	expect(jobs.begun.at(-1)).toBe("b2");
	await jobs.end("a2");
	expect(jobs.begun.at(-1)).toBe("a3");
	for (const name of ["a1", "a3", "b2"]) await jobs.end(name);
	void jobs.start(gate, "a", "a5");
	await turn();
	expect(jobs.begun.at(-1)).toBe("a5");
});

test("who fails leaves his place, who waits for too long hears so", async () => {
	const gate = new Gate("jobs", { ...limits, most: 1, waitMs: 5 });
	const jobs = new Jobs();
	await expect(gate.through("a", () => Promise.reject(new Error("x")))).rejects.toThrow("x");
	const running = jobs.start(gate, "a", "a1");
	await expect(jobs.start(gate, "b", "b1")).rejects.toMatchObject({ code: "tooMany" });
	await jobs.end("a1");
	expect(await running).toBe("a1");
	void jobs.start(gate, "b", "b2");
	await turn();
	expect(jobs.begun).toEqual(["a1", "b2"]);
});
