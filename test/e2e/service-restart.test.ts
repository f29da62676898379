import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, inject, test } from "vitest";
import { NodeClient } from "../../src/cli/client.ts";
import { findLeaks } from "../../src/cli/doctor/leaks.ts";
import { type NodeOptions, type RunningNode, startNode } from "../../src/cli/node/node.ts";
import { ask, deployService, getService, serviceIn, startService } from "../harness/service.ts";

let node: RunningNode | undefined;
let folder = "";

afterAll(async () => {
	await node?.stop();
	await rm(folder, { recursive: true, force: true });
});

test.runIf(inject("host") === "workerd")(
	"a node that is started again starts the services that it had, at their addresses",
	async () => {
		folder = await mkdtemp(join(tmpdir(), "hst-"));
		const options: NodeOptions = {
			run: join(folder, "run"),
			state: join(folder, "state"),
			storeDir: folder,
			port: 0,
			development: true,
			devStore: "plain",
			sink: () => undefined,
		};
		node = await startNode(options);
		let client = new NodeClient(node.url, {});
		await deployService({ client }, { name: "greeter", isolation: "bubblewrap" });
		await deployService({ client }, { name: "once", isolation: "bubblewrap", service: { restart: "never" } });
		const { service } = await startService({ client }, "greeter", { greeting: "good day" });
		const { service: once } = await startService({ client }, "once");
		await node.stop();
		expect(await findLeaks(options.run, options.state)).toEqual([]);

		node = await startNode(options);
		client = new NodeClient(node.url, {});
		const now = await serviceIn({ client }, "greeter", service.id, "ready");
		expect(now).toMatchObject({ address: service.address, restarts: 1 });
		expect(await ask(now.address, "greet")).toBe("good day");
		expect(await getService({ client }, "once", once.id)).toMatchObject({
			state: "failed",
			error: { code: "nodeDraining" },
		});
		await node.stop();
		expect(await findLeaks(options.run, options.state)).toEqual([]);
		node = undefined;
	},
);
