/** Sizes and durations as people write them in headstart.toml. */

const BYTES: Record<string, number> = {
	B: 1,
	KB: 1e3,
	KiB: 1024,
	MB: 1e6,
	MiB: 1 << 20,
	GB: 1e9,
	GiB: 1 << 30,
};
const MILLIS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Bytes of "512MiB"; undefined for another form. */
export function parseBytes(text: string): number | undefined {
	return parse(text, BYTES);
}

/** Milliseconds of "30s"; undefined for another form. */
export function parseDuration(text: string): number | undefined {
	return parse(text, MILLIS);
}

function parse(text: string, units: Record<string, number>): number | undefined {
	const match = /^(\d{1,12}(?:\.\d{1,6})?)\s*([A-Za-z]+)$/.exec(text);
	const unit = match?.[2] === undefined || !Object.hasOwn(units, match[2]) ? undefined : units[match[2]];
	return unit === undefined ? undefined : Math.round(Number(match?.[1]) * unit);
}
