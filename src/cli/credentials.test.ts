import { chmodSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { credentialHeaders, credentialsOf, keepToken } from "./credentials.ts";

let home: string;

beforeEach(() => {
	home = mkdtempSync(join(tmpdir(), "hs-credentials-"));
});

afterEach(() => rmSync(home, { recursive: true }));

test("a kept token is this user's, and of one node", () => {
	const environment = { XDG_CONFIG_HOME: home };
	expect(credentialsOf("http://127.0.0.1:1", environment)).toEqual({});
	const path = keepToken("http://127.0.0.1:1/", "one", environment);
	keepToken("http://127.0.0.1:2", "two", environment);
	expect(statSync(path).mode & 0o777).toBe(0o600);
	expect(credentialsOf("http://127.0.0.1:1", environment)).toEqual({ token: "one" });
	expect(credentialsOf("http://127.0.0.1:3", environment)).toEqual({});
	chmodSync(path, 0o644);
	expect(() => credentialsOf("http://127.0.0.1:1", environment)).toThrow("can be read by others");
});

test("the environment comes first", () => {
	const environment = { XDG_CONFIG_HOME: home, HEADSTART_TOKEN: "env", HEADSTART_TENANT: "acme" };
	keepToken("http://h:1", "kept", environment);
	const credentials = credentialsOf("http://h:1", environment);
	expect(credentialHeaders(credentials)).toEqual({
		authorization: "Bearer env",
		"x-headstart-tenant": "acme",
	});
	expect(credentialHeaders({})).toEqual({});
});
