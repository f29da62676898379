/** Reads single values out of JSON: enough for an initscript's input. */

/** Arrays and objects in one another. */
const DEPTH = 32;

/** The text under `key` in a JSON object; null when it has none, or is malformed up to there. */
export function jsonText(json: string, key: string): string | null {
	const reader = new JsonReader(json);
	return reader.find(key) ? reader.text() : null;
}

/** The value under `key` in a JSON object, as JSON; "" when it has none, or is malformed up to there. */
export function jsonValue(json: string, key: string): string {
	const reader = new JsonReader(json);
	return reader.find(key) ? reader.value() : "";
}

/** The values of a JSON array, each as JSON; those before the place where it is malformed. */
export function jsonItems(json: string): string[] {
	const items: string[] = [];
	const reader = new JsonReader(json);
	if (!reader.take(0x5b)) return items;
	do {
		const item = reader.value();
		if (item == "") break;
		items.push(item);
	} while (reader.take(0x2c));
	return items;
}

@final
class JsonReader {
	at: i32 = 0;

	constructor(public json: string) {}

	/** Whether this is an object that has `key`; then its value comes next. */
	find(key: string): bool {
		if (!this.take(0x7b)) return false;
		do {
			const name = this.text();
			if (name === null || !this.take(0x3a)) return false;
			if (name == key) return true;
			if (!this.skip(0)) return false;
		} while (this.take(0x2c));
		return false;
	}

	/** Whether the next token is `character`; then it is behind us. */
	take(character: i32): bool {
		this.space();
		if (this.peek() != character) return false;
		this.at++;
		return true;
	}

	/** A text, or null. */
	text(): string | null {
		if (!this.take(0x22)) return null;
		let text = "";
		let start = this.at;
		while (this.at < this.json.length) {
			const character = this.peek();
			if (character == 0x22) {
				text += this.json.substring(start, this.at++);
				return text;
			}
			if (character < 0x20) return null;
			this.at++;
			if (character != 0x5c) continue;
			text += this.json.substring(start, this.at - 1);
			const escaped = this.escape();
			if (escaped < 0) return null;
			text += String.fromCharCode(escaped);
			start = this.at;
		}
		return null;
	}

	/** The value that comes next, as JSON; "" when there is none. */
	value(): string {
		this.space();
		const start = this.at;
		return this.skip(0) ? this.json.substring(start, this.at) : "";
	}

	/** Whether a value begins here; then it is behind us. */
	skip(depth: i32): bool {
		this.space();
		const first = this.peek();
		if (depth > DEPTH) return false;
		if (first == 0x22) return this.text() !== null;
		const object = first == 0x7b;
		if (!object && first != 0x5b) return this.word();
		const close = first + 2;
		this.at++;
		if (this.take(close)) return true;
		do {
			if (object && (this.text() === null || !this.take(0x3a))) return false;
			if (!this.skip(depth + 1)) return false;
		} while (this.take(0x2c));
		return this.take(close);
	}

	/** The character here, or -1 at the end. */
	private peek(): i32 {
		return this.at < this.json.length ? this.json.charCodeAt(this.at) : -1;
	}

	private space(): void {
		for (let it = this.peek(); it == 0x20 || (it >= 0x09 && it <= 0x0d); it = this.peek()) this.at++;
	}

	/** Whether a number or one of the three words begins here; then it is behind us. */
	private word(): bool {
		const start = this.at;
		for (let it = this.peek(); isWord(it); it = this.peek()) this.at++;
		return this.at > start;
	}

	/** What an escape stands for (a UTF-16 unit), or -1. */
	private escape(): i32 {
		const character = this.peek();
		this.at++;
		switch (character) {
			case 0x22:
			case 0x5c:
			case 0x2f:
				return character;
			case 0x62:
				return 0x08;
			case 0x66:
				return 0x0c;
			case 0x6e:
				return 0x0a;
			case 0x72:
				return 0x0d;
			case 0x74:
				return 0x09;
			case 0x75:
				return this.hex();
			default:
				return -1;
		}
	}

	private hex(): i32 {
		let value = 0;
		for (let i = 0; i < 4; i++) {
			const digit = hexDigit(this.peek());
			if (digit < 0) return -1;
			this.at++;
			value = value * 16 + digit;
		}
		return value;
	}
}

function isWord(it: i32): bool {
	const lower = it | 0x20;
	if (it < 0) return false;
	return (lower >= 0x61 && lower <= 0x7a) || (it >= 0x30 && it <= 0x39) || it == 0x2d || it == 0x2b || it == 0x2e;
}

function hexDigit(it: i32): i32 {
	const lower = it | 0x20;
	if (it >= 0x30 && it <= 0x39) return it - 0x30;
	return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
