/** One part of the set-up. Each can be done again at any time. */
export interface Step {
	/** What is printed while it runs: "Rust programs". */
	name: string;
	/** What doing it costs on a fresh machine. */
	cost: { downloadMb: number; diskMb: number; minutes: number };
	/** What a person has to do before {@link run}, each with how: asked of all steps before the first one runs. Changes nothing. */
	check?(): Promise<string[]>;
	/** Whether there is nothing to do. Quick, without a network, and without a change. */
	done(): Promise<boolean>;
	/** Does it. Throws {@link SetupError} when that fails. */
	run(): Promise<void>;
}

/** What the set-up cannot do by itself, with what to do. */
export class SetupError extends Error {
	override name = "SetupError";
}
