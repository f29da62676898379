import { createHash, randomBytes } from "node:crypto";
import { open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { CliError, systemCode } from "../errors.ts";

/** Who may use the API: whoever reaches it ("development"), or who has a token. */
export type Access = { kind: "development" } | { kind: "tokens"; operatorTokenHash: string };

/** The operator's token, in the state directory. */
export function operatorTokenFile(state: string): string {
	return join(state, "operator-token");
}

/** For a node that wants tokens: the operator's, made when there is none yet. The host is given its hash only. */
export async function tokenAccess(state: string): Promise<Access> {
	const token = (await readToken(state)) ?? (await makeToken(state));
	return { kind: "tokens", operatorTokenHash: createHash("sha256").update(token).digest("hex") };
}

/** The operator's token; undefined before a node's first start. */
export async function readToken(state: string): Promise<string | undefined> {
	const path = operatorTokenFile(state);
	try {
		const token = (await readFile(path, "utf8")).trim();
		if (/^hso_[\w-]{43}$/.test(token)) return token;
	} catch (error) {
		if (systemCode(error) === "ENOENT") return undefined;
		throw error;
	}
	throw new CliError(`${path} holds no token`, "remove it: the next start makes another");
}

/** The bindings that tell the host (src/shared/env.ts). */
export function accessBindings(access: Access): Record<string, string> {
	return access.kind === "development"
		? { DEVELOPMENT: "1" }
		: { OPERATOR_TOKEN_HASH: access.operatorTokenHash };
}

async function makeToken(state: string): Promise<string> {
	const token = `hso_${randomBytes(32).toString("base64url")}`;
	const path = operatorTokenFile(state);
	const file = await open(`${path}.new`, "w", 0o600);
	try {
		await file.chmod(0o600);
		await file.writeFile(`${token}\n`);
		await file.sync();
	} finally {
		await file.close();
	}
	await rename(`${path}.new`, path);
	return token;
}
