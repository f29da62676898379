import type { Manifest } from "./manifest.ts";

/** A deployed function, as the API shows it (docs/api.md). */
export interface FunctionSummary {
	name: string;
	digest: string;
	bundle: string;
	deployedAt: number;
	isolation: string;
	/** `artifact`: where it was pulled from, "registry/name@sha256:…". */
	initscript?: { digest: string; format: "wasm" | "js"; bytes: number; artifact?: string };
	manifest: Manifest;
}
