/** Hostile applications, in their sandboxes. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Case, type Stage, Uncontained } from "../case.ts";
import { deployHostile, invoke, type Outcome } from "../functions.ts";

interface Attack {
	/** Of clients' function attacks.py. */
	attack: string;
	isolation?: "bubblewrap" | "gvisor";
	event?: Record<string, unknown>;
	network?: boolean;
	/** Whether it needs the initscript that fetches. */
	fetches?: boolean;
	/** In words how it was contained. Throws {@link Uncontained}. */
	judge(outcome: Outcome): string;
}

/** What the application may see of its own end. */
const ENDS = ["functionTimeout", "appExited", "functionFailed", "instanceMemoryFull", "tooMany", "protocol"];

const did = ({ status, code, answer, message }: Outcome): unknown => {
	if (status === 200) return (answer as { did?: unknown }).did;
	if (ENDS.includes(code)) return `${code}: ${message}`;
	throw new Uncontained(`status ${status}, ${code || "no code"}: ${message}`);
};
const harmless = (outcome: Outcome): string => `it went on: ${JSON.stringify(did(outcome))}`;
const nothing = (outcome: Outcome): string => {
	const found = did(outcome);
	if (Array.isArray(found) && found.length > 0) throw new Uncontained(`it got ${found.join(", ")}`);
	return Array.isArray(found) ? "it got nothing" : String(found);
};
const unchanged = (outcome: Outcome): string => {
	const found = did(outcome) as { changed?: string[]; intact?: boolean };
	if (typeof found === "object" && (found.intact !== true || found.changed?.length))
		throw new Uncontained(JSON.stringify(found));
	return typeof found === "object" ? "nothing was changed" : String(found);
};

const FORBIDDEN = [
	["169.254.169.254", 80],
	["10.213.255.1", 22],
	["127.0.0.1", 8787],
	["1.1.1.1", 53],
];

const ATTACKS: readonly Attack[] = [
	{ attack: "random frames", judge: harmless },
	{ attack: "random frames", isolation: "gvisor", judge: harmless },
	{ attack: "send fds", judge: harmless },
	{ attack: "slow reads", judge: harmless },
	{ attack: "connection flood", judge: harmless },
	{ attack: "connection flood", isolation: "gvisor", judge: harmless },
	{ attack: "change segment", fetches: true, event: { map: true }, judge: unchanged },
	{ attack: "change segment", fetches: true, isolation: "gvisor", judge: unchanged },
	{ attack: "others", judge: nothing },
	{ attack: "others", isolation: "gvisor", judge: nothing },
	{ attack: "calls", judge: nothing },
	{ attack: "reach out", network: true, event: { targets: FORBIDDEN }, judge: nothing },
	{ attack: "reach out", network: true, isolation: "gvisor", event: { targets: FORBIDDEN }, judge: nothing },
	{ attack: "fork bomb", judge: harmless },
	{ attack: "memory bomb", judge: harmless },
	{ attack: "spin", judge: harmless },
	{ attack: "log flood", judge: harmless },
];

/** Fetches the object whose segment is attacked. */
const FETCH = `import { connect, expect, s3Get } from "headstart";
export default function main() { expect(1); s3Get(connect("s3://inputs"), "big"); }
`;

/** What the modest one takes of each of the kernel's quotas of a user, beside one that takes all. */
const MODEST = 3;

/** Two applications at one time; the attacker's own stand for any two. */
const quotas: Case = {
	name: "app, bubblewrap: user quotas",
	async prepare({ attacker }: Stage): Promise<undefined> {
		for (const name of ["greedy", "modest"])
			await deployHostile(attacker, { name, handler: "attacks:handler" });
	},
	async attack({ attacker }: Stage): Promise<string> {
		const take = (name: string, most: number, hold: number): Promise<Outcome> =>
			invoke(attacker, name, { attack: "user quotas", most, hold });
		const greedy = take("greedy", 1e7, 3);
		await sleep(1_000);
		const modest = did(await take("modest", MODEST, 0));
		const taken = JSON.stringify(did(await greedy));
		const left = typeof modest === "object" && modest !== null ? Object.values(modest) : [];
		if (left.length === 0 || left.some((count) => count !== MODEST))
			throw new Uncontained(`beside one that took ${taken} there was ${JSON.stringify(modest)}`);
		return `it took ${taken}, and its neighbour had its own`;
	},
};

const attacks: readonly Case[] = ATTACKS.map((it, number) => {
	const { attack, isolation = "bubblewrap", network = false, event = {} } = it;
	const name = `app-${number}`;
	return {
		name: `app, ${isolation}: ${attack}`,
		async prepare({ attacker }: Stage): Promise<undefined> {
			await deployHostile(attacker, {
				name,
				isolation,
				network,
				handler: "attacks:handler",
				...(it.fetches && { script: { file: "initscript.js", content: FETCH } }),
			});
		},
		async attack({ attacker }: Stage): Promise<string> {
			return it.judge(await invoke(attacker, name, { attack, ...event }));
		},
	};
});

export const appCases: readonly Case[] = [...attacks, quotas];
