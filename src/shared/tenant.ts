/** A tenant: a namespace with functions, secrets, instances and a quota of its own. */
import * as v from "valibot";
import { HeadstartError } from "./error.ts";

/** Whose a request without a token is, on a node for development. */
export const DEFAULT_TENANT = "default";

/** What a tenant may use of a node at one time; what is absent has the node's own limits only. */
export interface Quota {
	/** Bytes: the memory limits of running sandboxes, and all segments of replies, messages and events. */
	memory?: number;
	/** Instances that have a function. */
	instances?: number;
	/** Open connections to services, those kept for the next request included. */
	connections?: number;
	/** Services that have not ended; {@link DEFAULT_SERVICES} where nothing is said. */
	services?: number;
	/** Bytes of the node's disk that the files of its applications may take; {@link DEFAULT_BUNDLES} where nothing is said. */
	bundles?: number;
}

export const DEFAULT_BUNDLES = 16 * 2 ** 30;

/** The bridge's own default is the same (native-bridge/src/tenants.rs). */
export const DEFAULT_SERVICES = 32;

export interface Tenant {
	name: string;
	quota: Quota;
	/** Unix milliseconds. */
	createdAt: number;
}

const limit = v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1)));
const quotaSchema = v.strictObject({
	memory: limit,
	instances: limit,
	connections: limit,
	services: limit,
	bundles: limit,
});

/** Whether a text can be a tenant's name: 1 to 63 lower-case letters, digits and inner hyphens. */
export function isTenantName(text: string): boolean {
	return /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text);
}

/** Reads a quota as the HTTP API takes it. Throws `invalidArgument`. */
export function parseQuota(input: unknown): Quota {
	const result = v.safeParse(quotaSchema, input);
	if (!result.success) {
		const [issue] = result.issues;
		throw new HeadstartError("invalidArgument", `quota ${v.getDotPath(issue) ?? ""}: ${issue.message}`);
	}
	const { memory, instances, connections, services, bundles } = result.output;
	return {
		...(memory === undefined ? {} : { memory }),
		...(instances === undefined ? {} : { instances }),
		...(connections === undefined ? {} : { connections }),
		...(services === undefined ? {} : { services }),
		...(bundles === undefined ? {} : { bundles }),
	};
}
