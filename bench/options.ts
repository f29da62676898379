import { InvalidArgumentError } from "commander";

/** A command line's count: a whole number from 1. Throws commander's InvalidArgumentError. */
export function count(text: string): number {
	const value = Number(text);
	if (!Number.isSafeInteger(value) || value < 1)
		throw new InvalidArgumentError("a whole number from 1 was expected");
	return value;
}
