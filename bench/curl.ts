import { spawn } from "node:child_process";

/** A store and how to sign for it. */
export interface StoreAccess {
	/** "http://host:port" */
	endpoint: string;
	region: string;
	accessKey: string;
	secretKey: string;
}

export interface Transfer {
	status: number;
	bytes: number;
	/** From the first byte of the request to the last of the body, by curl's own clock. */
	seconds: number;
}

const FORMAT = "%{http_code} %{size_download} %{time_total} %{time_pretransfer}";

/**
 * Gets an object with curl, signed, to /dev/null. Neither curl's start nor its connect is in `seconds`.
 * The secret goes by stdin, so that no process list shows it.
 */
export async function curlGet(store: StoreAccess, path: string): Promise<Transfer> {
	const child = spawn("curl", ["--silent", "--show-error", "--config", "-"], {
		stdio: ["pipe", "pipe", "pipe"],
	});
	child.stdin.end(
		[
			`url = "${store.endpoint}/${path}"`,
			`aws-sigv4 = "aws:amz:${store.region}:s3"`,
			'header = "x-amz-content-sha256: UNSIGNED-PAYLOAD"',
			`user = "${store.accessKey}:${store.secretKey}"`,
			'output = "/dev/null"',
			'noproxy = "*"',
			`write-out = "${FORMAT}"`,
			"max-time = 60",
		].join("\n"),
	);
	let stdout = "";
	let stderr = "";
	child.stdout.on("data", (data) => {
		stdout += data;
	});
	child.stderr.on("data", (data) => {
		stderr += data;
	});
	const status = await new Promise<number | null>((resolve, reject) => {
		child.on("error", reject);
		child.on("close", resolve);
	});
	if (status !== 0) throw new Error(`curl ended with ${status}: ${stderr.trim()}`);
	return parseTransfer(stdout);
}

/** Reads what curl wrote for FORMAT. */
export function parseTransfer(text: string): Transfer {
	const [status, bytes, total, before] = text.trim().split(" ").map(Number);
	if (status === undefined || bytes === undefined || total === undefined || before === undefined) {
		throw new Error(`curl wrote "${text}"`);
	}
	return { status, bytes, seconds: total - before };
}
