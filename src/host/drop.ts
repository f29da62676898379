import { Bridge } from "../bridge/bridge.ts";
import { evictImage } from "../bridge/images.ts";
import { TenantRunner } from "../durable/runners.ts";
import { retire } from "../durable/spares.ts";
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import type { DeployedFunction } from "../shared/function.ts";
import { registry } from "./functions.ts";

/**
 * For a start that has to pull its image and its initscript: ends the function's idle instances, and drops the image from the
 * node and the initscript from the runner. The host's own copy of that is not used either.
 */
export async function dropCached(
	env: Env,
	{ tenant, digest, manifest, script }: DeployedFunction,
): Promise<void> {
	const { image } = manifest.app;
	if (image === undefined && script?.artifact === undefined) {
		throw new HeadstartError("invalidArgument", `cold=image: ${manifest.name} has nothing from a registry`, {
			hint: "Name an app.image or an initscript.artifact, or use cold=1.",
		});
	}
	// Their starts would have to pull it again.
	if (image !== undefined && (await registry(env).isOthersImage(image, tenant))) {
		throw new HeadstartError("imageInUse", "cold=image: another tenant has functions of the image", {
			hint: "Use cold=1.",
		});
	}
	await retire(env, digest, "its image is dropped");
	if (image !== undefined) await evictImage(env, image);
	if (script?.artifact !== undefined) await unload(env, tenant, script.module.digest);
}

/** A runner that cannot be asked has lost all of its modules. */
async function unload(env: Env, tenant: string, module: string): Promise<void> {
	const bridge = Bridge.connect(env.BRIDGE);
	try {
		await new TenantRunner(env, tenant, async () => bridge).unload(module);
	} catch (thrown) {
		console.warn("an initscript was not dropped", thrown);
	} finally {
		bridge[Symbol.dispose]();
	}
}
