import { type Access, accessBindings } from "./access.ts";

/** What a node's host process is made from. Paths are absolute. */
export interface HostConfig {
	/** Address of the HTTP API, "127.0.0.1:8787". */
	listen: string;
	/** The bridge's socket, and its relays to the runners, by slot. */
	bridgeSocket: string;
	relaySockets: readonly string[];
	/** Where Durable Objects are kept. */
	objects: string;
	/** The bundled host, relative to the configuration file. */
	bundle: string;
	access: Access;
	/** Whether instances' records hold their transcripts' inputs. */
	recordInputs: boolean;
}

/** Must be that of wrangler.toml: a test compares them. So must the flags. */
export const COMPATIBILITY_DATE = "2026-11-17";

/** Without it a request's signal says nothing to the objects that it is passed to: a caller that goes away would cancel nothing. */
export const COMPATIBILITY_FLAGS = ["request_signal_passthrough"];

/**
 * workerd's configuration of the host (`workerd serve`). The same bindings as in wrangler.toml.
 *
 * Objects that hold a stream to the bridge must not be evicted: an idle one would lose it. Nor one that waits to restart a service.
 */
export function hostConfig(config: HostConfig): string {
	return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "host", worker = (
      modules = [(name = "worker.js", esModule = embed ${text(config.bundle)})],
      compatibilityDate = ${text(COMPATIBILITY_DATE)},
      compatibilityFlags = [${COMPATIBILITY_FLAGS.map(text).join(", ")}],
      bindings = [
        (name = "BRIDGE", service = "bridge"),
${config.relaySockets.map((_, slot) => `        (name = "RUNNER_${slot}", service = "runner-${slot}"),\n`).join("")}        (name = "TRANSCRIPT", durableObjectNamespace = "Transcript"),
        (name = "REGISTRY", durableObjectNamespace = "Registry"),
        (name = "LOG", durableObjectNamespace = "Log"),
        (name = "SERVICES", durableObjectNamespace = "Services"),
${Object.entries({ ...accessBindings(config.access), ...recordBindings(config.recordInputs) })
	.map(([name, value]) => `        (name = ${text(name)}, text = ${text(value)}),\n`)
	.join("")}      ],
      durableObjectNamespaces = [
        (className = "Transcript", uniqueKey = "headstart-Transcript", enableSql = true, preventEviction = true),
        (className = "Registry", uniqueKey = "headstart-Registry", enableSql = true),
        (className = "Log", uniqueKey = "headstart-Log", enableSql = true),
        (className = "Services", uniqueKey = "headstart-Services", enableSql = true, preventEviction = true),
      ],
      durableObjectStorage = (localDisk = "objects"),
    )),
    (name = "bridge", external = (address = ${text(`unix:${config.bridgeSocket}`)}, http = ())),
${config.relaySockets.map(runnerService).join("")}    (name = "objects", disk = (path = ${text(config.objects)}, writable = true)),
  ],
  sockets = [(name = "http", address = ${text(config.listen)}, service = "host", http = ())],
);
`;
}

/** The way to the runner in a slot. */
function runnerService(socket: string, slot: number): string {
	const address = text(`unix:${socket}`);
	return `    (name = "runner-${slot}", external = (address = ${address}, http = (capnpConnectHost = "runner"))),\n`;
}

/** The binding that makes the host record its transcripts' inputs (src/shared/env.ts). */
export function recordBindings(recordInputs: boolean): Record<string, string> {
	return recordInputs ? { RECORD_INPUTS: "1" } : {};
}

/** A Cap'n Proto text literal. */
function text(value: string): string {
	return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}
