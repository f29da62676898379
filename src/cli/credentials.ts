import { chmodSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { CliError, systemCode } from "./errors.ts";

/** Whose requests the command line sends. */
export interface Credentials {
	token?: string;
	/** With the operator's token: for which tenant. */
	tenant?: string;
}

/** What the environment says of a node, or else `headstart login` has kept. Nothing: requests have no token. */
export function credentialsOf(url: string, environment: NodeJS.ProcessEnv = process.env): Credentials {
	const token = environment.HEADSTART_TOKEN ?? readTokens(environment)[origin(url)];
	const tenant = environment.HEADSTART_TENANT;
	return { ...(token && { token: token.trim() }), ...(tenant && { tenant }) };
}

/** The headers that say it. */
export function credentialHeaders({ token, tenant }: Credentials): Record<string, string> {
	return {
		...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
		...(tenant === undefined ? {} : { "x-headstart-tenant": tenant }),
	};
}

/** Keeps a token for a node's address, for this user only. */
export function keepToken(url: string, token: string, environment: NodeJS.ProcessEnv = process.env): string {
	const path = tokensFile(environment);
	const tokens = { ...readTokens(environment), [origin(url)]: token };
	mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
	writeFileSync(`${path}.new`, `${JSON.stringify(tokens, undefined, "\t")}\n`, { mode: 0o600 });
	chmodSync(`${path}.new`, 0o600);
	renameSync(`${path}.new`, path);
	return path;
}

function tokensFile({ XDG_CONFIG_HOME }: NodeJS.ProcessEnv): string {
	return join(XDG_CONFIG_HOME || join(homedir(), ".config"), "headstart/tokens.json");
}

/** The kept tokens by address. */
function readTokens(environment: NodeJS.ProcessEnv): Record<string, string> {
	const path = tokensFile(environment);
	let text: string;
	try {
		if ((statSync(path).mode & 0o077) !== 0) {
			throw new CliError(`${path} can be read by others`, `run \`chmod 600 ${path}\``);
		}
		text = readFileSync(path, "utf8");
	} catch (error) {
		if (systemCode(error) === "ENOENT") return {};
		throw error;
	}
	try {
		const tokens: unknown = JSON.parse(text);
		if (typeof tokens !== "object" || tokens === null) return {};
		return Object.fromEntries(
			Object.entries(tokens).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
		);
	} catch {
		throw new CliError(`${path} is malformed`, "remove it, and log in again with `headstart login`");
	}
}

function origin(url: string): string {
	return URL.canParse(url) ? new URL(url).origin : url;
}
