/** JavaScript Promise Integration, which V8 has and the type libraries do not name yet. */
interface Jspi {
	/** An import that suspends the module until its promise settles. */
	Suspending: new (
		implementation: (...args: never[]) => Promise<unknown>,
	) => WebAssembly.ImportValue;
	/** An export that may be suspended: its value comes as a promise. */
	promising(exported: WebAssembly.ExportValue): () => Promise<unknown>;
}

export const jspi = WebAssembly as unknown as Jspi;
