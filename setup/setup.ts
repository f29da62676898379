import { SetupError, type Step } from "./step.ts";
import { apps } from "./steps/apps.ts";
import { assets, seed } from "./steps/assets.ts";
import { generate, host, runner } from "./steps/bundles.ts";
import { clients } from "./steps/clients.ts";
import { debian, gvisor } from "./steps/debian.ts";
import { isolates } from "./steps/isolates.ts";
import { npm } from "./steps/npm.ts";
import { rust } from "./steps/rust.ts";

const steps: Step[] = [
	npm,
	debian,
	gvisor,
	generate,
	rust,
	apps,
	runner,
	host,
	clients,
	isolates,
	assets,
	seed,
];

/**
 * Makes this checkout and machine ready to run a node: what is there is skipped, and once all is there no network is needed.
 * Says before it starts what it will install. `more` are steps that only some need. Throws {@link SetupError} for what a person has to do first.
 */
export async function setUp(more: readonly Step[] = []): Promise<void> {
	const todo: Step[] = [];
	for (const step of [...steps, ...more]) if (!(await step.done())) todo.push(step);
	if (todo.length === 0) return;
	await checkAll(todo);
	process.stderr.write(`${announcement(todo)}\n`);
	for (const [index, step] of todo.entries()) {
		if (await step.done()) continue; // an earlier step has done it
		const began = Date.now();
		process.stderr.write(`[${index + 1}/${todo.length}] ${step.name}\n`);
		await step.run();
		const seconds = (Date.now() - began) / 1000;
		if (seconds > 2) process.stderr.write(`  done in ${seconds.toFixed(0)} s\n`);
	}
}

/** Throws a {@link SetupError} that lists all that a person has to do before these steps can be done. */
export async function checkAll(todo: readonly Step[]): Promise<void> {
	const lacking = await Promise.all(todo.map((step) => step.check?.() ?? []));
	const lines = lacking.flat().map((line) => `- ${line}`);
	if (lines.length === 0) return;
	throw new SetupError(["Nothing was set up. First, then run this again:", ...lines].join("\n"));
}

/** "Setting up: npm packages, gVisor. About 265 MB to download, 1085 MB on disk, 2 minutes." */
export function announcement(todo: readonly Step[]): string {
	const sum = (part: keyof Step["cost"]): number => todo.reduce((total, { cost }) => total + cost[part], 0);
	const minutes = Math.max(1, Math.ceil(sum("minutes")));
	return `Setting up: ${todo.map(({ name }) => name).join(", ")}. About ${sum("downloadMb")} MB to download, ${sum("diskMb")} MB on disk, ${minutes} ${minutes === 1 ? "minute" : "minutes"}.`;
}
