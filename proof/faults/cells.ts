/** The fault matrix: what is done to whom, at which step of an invocation, in which sandbox. */

/** The steps of an invocation, in their order. */
export const STEPS = [
	"accepted",
	"sandbox created",
	"script started",
	"rpc sent",
	"half a reply",
	"reply done",
	"message sent",
	"message received",
	"connection handed over",
	"answer half sent",
] as const;
export const VICTIMS = ["host", "runner", "bridge", "app", "store"] as const;
/** kill: SIGKILL. stop: SIGSTOP for three seconds. */
export const FAULTS = ["kill", "stop"] as const;
export const ISOLATIONS = ["bubblewrap", "gvisor"] as const;

export type Step = (typeof STEPS)[number];
export type Victim = (typeof VICTIMS)[number];
export type Fault = (typeof FAULTS)[number];
export type Isolation = (typeof ISOLATIONS)[number];

export interface Cell {
	isolation: Isolation;
	step: Step;
	victim: Victim;
	fault: Fault;
}

/** Every cell that can occur. The victim changes fastest: what was killed has time to come back before it is killed again. */
export function cells(): Cell[] {
	return all().filter((cell) => whyNot(cell) === undefined);
}

/** The cells that cannot occur, each with the reason. */
export function notApplicable(): { cell: string; why: string }[] {
	return all().flatMap((cell) => {
		const why = whyNot(cell);
		return why === undefined ? [] : [{ cell: nameOf(cell), why }];
	});
}

export function nameOf({ isolation, step, victim, fault }: Cell): string {
	return `${isolation}: ${fault} ${victim} at "${step}"`;
}

function all(): Cell[] {
	return ISOLATIONS.flatMap((isolation) =>
		STEPS.flatMap((step) =>
			FAULTS.flatMap((fault) => VICTIMS.map((victim) => ({ isolation, step, victim, fault }))),
		),
	);
}

function whyNot({ step, victim }: Cell): string | undefined {
	if (step === "accepted" && victim === "app") return "there is no application yet";
	return undefined;
}
