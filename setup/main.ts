/** `setup`, `demo` and `test`: the set-up that they share, then the thing itself. Starts on a checkout without node_modules. */

import { demoOptions } from "./demo-options.ts";
import { setUp } from "./setup.ts";
import { SetupError } from "./step.ts";
import { servers, wasmRust } from "./steps/debian.ts";
import { moto } from "./steps/moto.ts";
import { sebsLibraries } from "./steps/sebs.ts";
import { chooseSuites, runSuites } from "./test.ts";

const [verb, ...args] = process.argv.slice(2);

try {
	switch (verb) {
		case "setup":
			await setUp();
			process.stderr.write("All is set up.\n");
			break;
		case "demo": {
			const options = demoOptions(args);
			await setUp();
			const { demo } = await import("../src/cli/demo/demo.ts");
			await demo(options);
			break;
		}
		case "test": {
			const suites = chooseSuites(args);
			await setUp(suites.some(({ needsMore }) => needsMore) ? [servers, moto, wasmRust, sebsLibraries] : []);
			process.exitCode = await runSuites(suites);
			break;
		}
		default:
			process.stderr.write("usage: setup/main.ts setup|demo|test\n");
			process.exitCode = 2;
	}
} catch (error) {
	process.stderr.write(`${await inWords(error)}\n`);
	process.exitCode = 1;
}

/** What is known is said in words; anything else keeps its stack. */
async function inWords(error: unknown): Promise<string> {
	if (error instanceof SetupError) return error.message;
	if (!(error instanceof Error)) return String(error);
	if (error.name !== "CliError" && error.name !== "HeadstartError") return error.stack ?? error.message;
	const { describe } = await import("../src/cli/errors.ts");
	return describe(error);
}
