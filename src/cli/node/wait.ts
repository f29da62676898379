import { request } from "node:http";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { CliError } from "../errors.ts";

/** Asks again until `probe` gives a value; its last error, or `what` "did not answer", after `deadline` milliseconds. */
export async function until<T>(
	what: string,
	deadline: number,
	probe: () => Promise<T | undefined>,
): Promise<T> {
	const end = Date.now() + deadline;
	let last: unknown;
	for (;;) {
		try {
			const value = await probe();
			if (value !== undefined) return value;
		} catch (error) {
			if (error instanceof CliError) throw error;
			last = error;
		}
		if (Date.now() > end) {
			const why = last instanceof Error ? ` (${last.message})` : "";
			throw new CliError(
				`${what} did not answer within ${deadline / 1000} s${why}`,
				"run `headstart doctor`",
			);
		}
		await sleep(20);
	}
}

/** An HTTP request to a unix socket. Rejects after `timeout` milliseconds without an answer. */
export function askSocket(
	socketPath: string,
	path: string,
	{ method = "GET", timeout = 2_000, body }: { method?: string; timeout?: number; body?: string } = {},
): Promise<{ status: number; body: string }> {
	return new Promise((resolve, reject) => {
		const asked = request({ socketPath, path, method, timeout, headers: { host: "bridge" } }, (response) => {
			let body = "";
			response.setEncoding("utf8");
			response.on("data", (chunk: string) => {
				body += chunk;
			});
			response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
			response.on("error", reject);
		});
		asked.on("timeout", () => asked.destroy(new Error(`no answer within ${timeout} ms`)));
		asked.on("error", reject);
		asked.end(body);
	});
}

/** A TCP port that is free now; `port` itself when it is not 0. Throws when that is taken. */
export function freePort(port: number, host = "127.0.0.1"): Promise<number> {
	return new Promise((resolve, reject) => {
		const server = createServer();
		server.on("error", (error: NodeJS.ErrnoException) => {
			const taken = error.code === "EADDRINUSE";
			reject(
				taken
					? new CliError(`port ${port} is taken`, "stop what uses it, or choose another with --port")
					: error,
			);
		});
		server.listen(port, host, () => {
			const address = server.address();
			server.close(() => resolve(typeof address === "object" && address ? address.port : port));
		});
	});
}
