/** Who asks: the token of a request says which tenant it is of, or that it is the operator's. */
import { tenants } from "../durable/node.ts";
import { hex, isEqual, sha256 } from "../durable/tenants.ts";
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import { DEFAULT_TENANT, isTenantName } from "../shared/tenant.ts";
import { loadTenants } from "./tenants.ts";

export interface Access {
	/** Whose functions, instances and secrets are meant. None: an operator who has named no tenant. */
	tenant: string | undefined;
	/** Whether the whole node may be seen and changed. */
	operator: boolean;
}

/** An operator names here for which tenant a request is. */
const TENANT_HEADER = "x-headstart-tenant";
/** Tokens are shorter. */
const MAX_AUTHORIZATION = 256;

const encoder = new TextEncoder();
const DEVELOPER: Access = Object.freeze({ tenant: DEFAULT_TENANT, operator: true });

/**
 * The access of a request, mostly at once: only a host's first request and a token's first one take time. Throws
 * `unauthorized`, also where the token is of another tenant than the one that is named, and `unknownTenant`.
 */
export function accessOf(env: Env, { headers }: Request): Access | Promise<Access> {
	const authorization = headers.get("authorization");
	const named = headers.get(TENANT_HEADER);
	const loading = loadTenants(env);
	if (loading !== undefined) return loading.then(() => check(env, authorization, named));
	return check(env, authorization, named);
}

/** The tenant that a request is for. Throws `invalidArgument` for an operator who has named none. */
export function tenantOf({ tenant }: Access): string {
	if (tenant !== undefined) return tenant;
	throw new HeadstartError("invalidArgument", "the operator's token is of no tenant", {
		hint: `Name the tenant in ${TENANT_HEADER} (HEADSTART_TENANT for the command line), or send the tenant's own token.`,
	});
}

/** Throws `unauthorized` unless the operator asks. */
export function checkOperator({ operator }: Access): void {
	if (!operator)
		throw unauthorized("this is the operator's", "Send the operator's token: STATE/operator-token.");
}

function check(env: Env, authorization: string | null, named: string | null): Access | Promise<Access> {
	if (authorization === null) {
		if (env.DEVELOPMENT !== "1") throw unauthorized("a token is missing");
		return named === null ? DEVELOPER : asOperator(named);
	}
	const token = /^Bearer ([\w.-]+)$/i.exec(authorization.slice(0, MAX_AUTHORIZATION))?.[1];
	if (token === undefined || authorization.length > MAX_AUTHORIZATION) throw wrong();
	const tenant = /^hst_([a-z0-9-]{1,63})\./.exec(token)?.[1];
	if (tenant === undefined) return operator(env, token, named);
	const right = tenants.isToken(tenant, encoder.encode(token));
	return typeof right === "boolean"
		? ofTenant(tenant, right, named)
		: right.then((right) => ofTenant(tenant, right, named));
}

function ofTenant(tenant: string, right: boolean, named: string | null): Access {
	if (!right || (named !== null && named !== tenant)) throw wrong();
	return { tenant, operator: false };
}

async function operator(env: Env, token: string, named: string | null): Promise<Access> {
	const hash = await sha256(encoder.encode(token));
	if (!isEqual(encoder.encode(hex(hash)), encoder.encode(env.OPERATOR_TOKEN_HASH ?? ""))) throw wrong();
	return asOperator(named);
}

function asOperator(named: string | null): Access {
	if (named === null) return { tenant: undefined, operator: true };
	if (!isTenantName(named))
		throw new HeadstartError("unknownTenant", `no tenant is named ${named.slice(0, 80)}`);
	return { tenant: tenants.get(named).name, operator: true };
}

function wrong(): HeadstartError {
	return unauthorized("the token is not valid");
}

function unauthorized(message: string, hint?: string): HeadstartError {
	return new HeadstartError("unauthorized", message, hint === undefined ? {} : { hint });
}
