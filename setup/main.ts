/** `setup`, `demo` and `test`: the set-up that they share, then the thing itself. Starts on a checkout without node_modules. */

import { setUp } from "./setup.ts";
import { SetupError } from "./step.ts";

const [verb, ...args] = process.argv.slice(2);

try {
	switch (verb) {
		case "setup":
			await setUp();
			process.stderr.write("All is set up.\n");
			break;
		case "demo": {
			await setUp();
			const { demo } = await import("../src/cli/demo/demo.ts");
			await demo(args);
			break;
		}
		case "test": {
			await setUp();
			const { testAll } = await import("./test.ts");
			process.exitCode = await testAll(args);
			break;
		}
		default:
			process.stderr.write("usage: setup/main.ts setup|demo|test\n");
			process.exitCode = 2;
	}
} catch (error) {
	const known = error instanceof SetupError || (error instanceof Error && error.name === "CliError");
	process.stderr.write(
		`${known && error instanceof Error ? error.message : error instanceof Error ? error.stack : error}\n`,
	);
	process.exitCode = 1;
}
