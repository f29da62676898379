import { createHash, createHmac } from "node:crypto";

/** Whose leave a presigned URL gives. */
export interface Signer {
	accessKey: string;
	secretKey: string;
	region: string;
}

/**
 * A URL by which anybody may do one request to an object until it expires (AWS Signature Version 4 in the query).
 *
 * @example presign("PUT", "http://store:9000", "results/cat.json", signer)
 */
export function presign(
	verb: "GET" | "PUT",
	origin: string,
	object: string,
	{ accessKey, secretKey, region }: Signer,
	{ seconds = 3600, at = new Date() } = {},
): string {
	const date = at.toISOString().replace(/[-:]|\.\d+/g, "");
	const day = date.slice(0, 8);
	const scope = `${day}/${region}/s3/aws4_request`;
	const path = `/${object.split("/").map(escaped).join("/")}`;
	const query = [
		["X-Amz-Algorithm", "AWS4-HMAC-SHA256"],
		["X-Amz-Credential", `${accessKey}/${scope}`],
		["X-Amz-Date", date],
		["X-Amz-Expires", `${seconds}`],
		["X-Amz-SignedHeaders", "host"],
	]
		.map(([name, value = ""]) => `${name}=${escaped(value)}`)
		.join("&");
	const request = [verb, path, query, `host:${new URL(origin).host}`, "", "host", "UNSIGNED-PAYLOAD"].join(
		"\n",
	);
	const digest = createHash("sha256").update(request).digest("hex");
	const hmac = (key: string | Buffer, text: string): Buffer =>
		createHmac("sha256", key).update(text).digest();
	const key = [day, region, "s3", "aws4_request"].reduce<string | Buffer>(hmac, `AWS4${secretKey}`);
	const signature = hmac(key, ["AWS4-HMAC-SHA256", date, scope, digest].join("\n")).toString("hex");
	return `${origin}${path}?${query}&X-Amz-Signature=${signature}`;
}

/** As AWS escapes: encodeURIComponent leaves five more. */
function escaped(text: string): string {
	return encodeURIComponent(text).replace(
		/[!'()*]/g,
		(it) => `%${it.charCodeAt(0).toString(16).toUpperCase()}`,
	);
}
