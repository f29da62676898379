/**
 * The transcript's seven rules (docs/transcript.md) as a judge of what happened: it is given each input and what the
 * reducer answered, keeps books of its own, and says what breaks which rule. It shares no code with the reducer. The
 * property tests and the replay of recorded runs (recording.ts) ask it.
 */
import type { Input } from "./reducer.ts";
import { Book, type Violation } from "./rules/book.ts";
import { judgeEffect } from "./rules/effects.ts";
import { hear } from "./rules/heard.ts";
import { judgeEnd, judgeStanding, judgeWrite } from "./rules/standing.ts";
import type { Effect, Rules } from "./state.ts";

export type { Violation };

export class RuleBook {
	readonly #book: Book;

	constructor(rules: Rules, slackMs = 0) {
		this.#book = new Book(rules, slackMs);
	}

	get violations(): readonly Violation[] {
		return this.#book.violations;
	}

	/** What was sent or handed over, and never claimed: message ids and the keys of connections. */
	get waste(): string[] {
		return [...this.#book.sent].flatMap(([key, { phase }]) =>
			phase === "sent" || phase === "voided" ? [key] : [],
		);
	}

	step(input: Input, effects: readonly Effect[]): void {
		const book = this.#book;
		if (book.closed) {
			for (const it of effects) {
				if (!isAnswer(it)) book.broken(1, `${it.effect} after the instance's end`);
				else if (!("error" in it.outcome)) book.broken(1, "a result after the instance's end");
			}
			return;
		}
		const running = book.script === "running";
		hear(book, input, effects);
		for (const it of effects) judgeEffect(book, it, input, running);
		if (input.input === "event" && input.event.which === "called")
			judgeWrite(book, input.event.called.content);
		if (input.input === "answered" || input.input === "invocation") judgeEnd(book);
		judgeStanding(book, input.now);
	}
}

function isAnswer(it: Effect): it is Extract<Effect, { waiter: number; outcome: unknown }> {
	return it.effect === "reply" || it.effect === "message" || it.effect === "conn";
}
