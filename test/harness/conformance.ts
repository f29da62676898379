/** What every SDK's conformance script (initscripts/conformance) is to see, by an SDK's own words for it. */
import { ERROR_CODES } from "../../src/shared/generated/errors.ts";

/** The scripts, one for each SDK. */
export const CONFORMANCE_FILES = ["calls.ts", "calls.as.ts", "calls.c", "calls.rs"] as const;

/** What the wrong calls of the mode "fail" fail with, in their order. */
export const EXPECTED_ERRORS = [
	"invalidArgument", // an RPC on a connection that is none
	"invalidArgument", // a reply on a connection that is none
	"rpcUnknown", // the reply of an RPC that was not sent
	"rpcUnknown", // its bytes
	"payloadTooLarge", // a request of more than 1 MiB
	"payloadTooLarge", // a message of more than 1 MiB
	"payloadTooLarge", // an address of more than 4 KiB
	"invalidArgument", // a connection that is none, handed over
	"invalidArgument", // bytes of a message that was not received
	"rpcDuplicate", // another request under an RPC's id
	"ok", // a reply whose id was used for another request after it
	"invalidArgument", // bytes behind a reply's end
	"deadline", // a message that does not come
	"deadline", // a connection that does not come
	"invalidArgument", // an RPC on a connection that was handed over
	"invalidArgument", // a connection that was handed over before
];

/** The codes that a script tells: numbers in WASM, names in TypeScript. */
export function errorNames(told: string): string[] {
	return told.split(" ").map((it) => (/^\d+$/.test(it) ? (ERROR_CODES[Number(it)] ?? it) : it));
}
