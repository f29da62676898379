import { createRequire } from "node:module";
import { join } from "node:path";
import type { CORE_PLUGIN, ParsedWorkerOptions, Plugin } from "miniflare";

/**
 * Under `wrangler dev` the host's `BRIDGE` and `RUNNER` are unix sockets, which wrangler's configuration has no words for.
 * This plugin turns each `[[unsafe.bindings]]` entry that names it into workerd's own external service:
 *
 * ```toml
 * [[unsafe.bindings]]
 * name = "RUNNER"
 * type = "unix-socket"
 * [unsafe.bindings.dev]
 * plugin = { package = "headstart-dev-plugin", name = "headstart-dev-plugin" }
 * options = { socket = "relay-*.sock", count = 8, capnpConnectHost = "runner" }
 * ```
 *
 * With a `count` these are as many bindings, RUNNER_0, RUNNER_1, …, with their number in the place of the asterisk. `socket` is
 * relative to the node's run directory: `HEADSTART_RUN`, which `headstart dev` sets, or `/run/headstart`.
 */
const PLUGIN_NAME = "headstart-dev-plugin";

interface SocketOptions {
	socket: string;
	capnpConnectHost?: string;
}

/** The bindings of a worker that are ours, with their options. Throws for options of another shape. */
function ownBindings(worker: ParsedWorkerOptions): [string, SocketOptions][] {
	const own: [string, SocketOptions][] = [];
	for (const [name, binding] of Object.entries(worker.config.env ?? {})) {
		const dev: unknown = "dev" in binding ? binding.dev : undefined;
		if (!isRecord(dev) || !isRecord(dev.plugin) || dev.plugin.name !== PLUGIN_NAME) continue;
		const options = dev.options;
		if (!isRecord(options) || typeof options.socket !== "string") {
			throw new TypeError(`binding ${name}: options.socket must name a unix socket`);
		}
		const host = options.capnpConnectHost;
		const connect = typeof host === "string" ? { capnpConnectHost: host } : {};
		const { socket, count } = options;
		if (typeof count !== "number") {
			own.push([name, { socket, ...connect }]);
			continue;
		}
		for (let number = 0; number < count; number++)
			own.push([`${name}_${number}`, { socket: socket.replace("*", String(number)), ...connect }]);
	}
	return own;
}

function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === "object" && value !== null;
}

function serviceName(binding: string): string {
	return `headstart:${binding}`;
}

function socketAddress(socket: string): string {
	return `unix:${join(process.env.HEADSTART_RUN ?? "/run/headstart", socket)}`;
}

const plugin: Plugin = {
	bindingTypeDescription: "unix socket",
	getBindings(worker) {
		return ownBindings(worker).map(([name]) => ({ name, service: { name: serviceName(name) } }));
	},
	getNodeBindings() {
		return {};
	},
	getServices({ options }) {
		return ownBindings(options).map(([name, { socket, capnpConnectHost }]) => ({
			name: serviceName(name),
			external: {
				address: socketAddress(socket),
				http: capnpConnectHost === undefined ? {} : { capnpConnectHost },
			},
		}));
	},
};

/**
 * An idle object that is evicted loses its stream to the bridge. workerd's `preventEviction` keeps it, and wrangler has no
 * setting for that: so it is added to the namespaces of the workers that use this plugin, as they are handed to workerd.
 */
function keepObjects(core: typeof CORE_PLUGIN): void {
	const getServices = core.getServices;
	core.getServices = async (context) => {
		const result = await getServices.call(core, context);
		if (!result || ownBindings(context.options).length === 0) return result;
		for (const service of Array.isArray(result) ? result : result.services) {
			if (!("worker" in service)) continue;
			for (const namespace of service.worker?.durableObjectNamespaces ?? []) {
				namespace.preventEviction = true;
			}
		}
		return result;
	};
}

/** The miniflare that wrangler runs: it has its own copy beside the one that other packages see. */
function miniflareOfWrangler(): { CORE_PLUGIN: typeof CORE_PLUGIN } {
	const wrangler = createRequire(import.meta.url).resolve("wrangler");
	return createRequire(wrangler)("miniflare");
}

keepObjects(miniflareOfWrangler().CORE_PLUGIN);

export const plugins: Record<string, Plugin> = { [PLUGIN_NAME]: plugin };
