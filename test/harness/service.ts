import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import type { TomlTable } from "smol-toml";
import { merged, staged } from "../../bench/stage.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { until } from "../../src/cli/node/wait.ts";
import { isOver, type ServiceInstance, type ServiceState } from "../../src/shared/service.ts";
import type { TestNode } from "./node.ts";
import type { Isolation } from "./probe.ts";

const folderOfService = join(import.meta.dirname, "../functions/service");

export interface ServiceVariant {
	name: string;
	isolation: Isolation;
	/** Changes of its [service]. */
	service?: TomlTable;
	app?: TomlTable;
	/** Its initscript in a registry. */
	artifact?: string;
}

/** Deploys test/functions/service under another name, changed. */
export async function deployService(
	{ client }: Pick<TestNode, "client">,
	variant: ServiceVariant,
): Promise<void> {
	const { name, isolation, app, service, artifact } = variant;
	const change = (manifest: TomlTable): TomlTable => {
		const changed = merged(merged({ ...manifest, name }, "app", { ...app, isolation }), "service", {
			...service,
		});
		return artifact === undefined ? changed : merged(changed, "initscript", { artifact });
	};
	await staged(folderOfService, change, (folder) => deploy(folder, client));
}

/** What a service's start answered. */
export interface Started {
	status: number;
	service: ServiceInstance;
	error: { code?: string; message?: string };
}

export async function startService(
	{ client }: Pick<TestNode, "client">,
	name: string,
	settings: object = {},
	query = "",
): Promise<Started> {
	const answer = await client.send(`/v1/services/${name}/instances${query}`, {
		method: "POST",
		body: JSON.stringify(settings),
	});
	const body = (await answer.json()) as ServiceInstance & { code?: string; message?: string };
	return { status: answer.status, service: body, error: body };
}

export function getService(
	{ client }: Pick<TestNode, "client">,
	name: string,
	id: string,
): Promise<ServiceInstance> {
	return client.json<ServiceInstance>(`/v1/services/${name}/instances/${id}`);
}

/** The service once it is in a state. */
export function serviceIn(
	node: Pick<TestNode, "client">,
	name: string,
	id: string,
	state: ServiceState,
	within = 20_000,
): Promise<ServiceInstance> {
	return until(`${id} ${state}`, within, async () => {
		const now = await getService(node, name, id);
		return now.state === state ? now : undefined;
	});
}

export async function stopService(
	{ client }: Pick<TestNode, "client">,
	name: string,
	id: string,
): Promise<ServiceInstance> {
	const answer = await client.ask(`/v1/services/${name}/instances/${id}`, { method: "DELETE" });
	return (await answer.json()) as ServiceInstance;
}

/** Ends all that runs of the tenant's services. */
export async function stopServices(node: Pick<TestNode, "client">): Promise<void> {
	const { services } = await node.client.json<{ services: { name: string; instances: ServiceInstance[] }[] }>(
		"/v1/services",
	);
	for (const { name, instances } of services) {
		for (const { id, state } of instances) if (!isOver(state)) await stopService(node, name, id);
	}
}

/** A connection to a service, on which a line is answered by a line. */
export class Line {
	readonly #socket: Socket;
	/** Resolves when the other end closes it, or breaks. */
	readonly closed: Promise<void>;
	readonly #waiting: ((line: string | undefined) => void)[] = [];
	readonly #lines: string[] = [];
	#over = false;

	private constructor(socket: Socket) {
		this.#socket = socket;
		this.closed = new Promise((resolve) => {
			socket.once("close", () => {
				this.#over = true;
				for (const wake of this.#waiting.splice(0)) wake(undefined);
				resolve();
			});
		});
		socket.on("error", () => undefined);
		let rest = "";
		socket.setEncoding("utf8");
		socket.on("data", (text: string) => {
			const lines = (rest + text).split("\n");
			rest = lines.pop() ?? "";
			for (const line of lines) this.#give(line);
		});
	}

	static async to(address: string | undefined): Promise<Line> {
		const [host = "", port = "0"] = (address ?? "").split(":");
		const socket = connect({ host, port: Number(port) });
		await once(socket, "connect");
		return new Line(socket);
	}

	/** The answer to a line; undefined when the connection ends before it. */
	ask(line: string): Promise<string | undefined> {
		this.#socket.write(`${line}\n`);
		return this.next();
	}

	next(): Promise<string | undefined> {
		const line = this.#lines.shift();
		if (line !== undefined || this.#over) return Promise.resolve(line);
		return new Promise((resolve) => this.#waiting.push(resolve));
	}

	end(): void {
		this.#socket.destroy();
	}

	#give(line: string): void {
		const wake = this.#waiting.shift();
		if (wake === undefined) this.#lines.push(line);
		else wake(line);
	}
}

/** The answer to one line on a connection of its own. */
export async function ask(address: string | undefined, line: string): Promise<string | undefined> {
	const connection = await Line.to(address);
	try {
		return await connection.ask(line);
	} finally {
		connection.end();
	}
}
