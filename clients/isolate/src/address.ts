/** The canonical address of an object: what ids and contents are made of. */
export function url(bucket: string, key: string): string {
	const path = encodeURIComponent(key.replace(/^\/+/, "")).replaceAll("%2F", "/");
	return `s3://${bucket}/${path.replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)}`;
}
