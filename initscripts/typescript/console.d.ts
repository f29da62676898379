/** What an initscript has of a console: its lines go to the instance's log. */
declare const console: {
	debug(...values: unknown[]): void;
	log(...values: unknown[]): void;
	info(...values: unknown[]): void;
	warn(...values: unknown[]): void;
	error(...values: unknown[]): void;
};
