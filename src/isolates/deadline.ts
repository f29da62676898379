/** The longest time that a script may be given, milliseconds. */
const MAX_DEADLINE_MS = 600_000;

/** The value of `work`, or that of `late` when it is not there within `milliseconds`. */
export async function within<T>(milliseconds: number, work: Promise<T>, late: () => T): Promise<T> {
	let timer: ReturnType<typeof setTimeout> | null = null;
	const end = new Promise<T>((resolve) => {
		timer = setTimeout(() => resolve(late()), Math.min(Math.max(milliseconds, 0), MAX_DEADLINE_MS));
	});
	try {
		return await Promise.race([work, end]);
	} finally {
		clearTimeout(timer);
	}
}
