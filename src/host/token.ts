/** A tenant's token: 256 random bits behind the tenant's name, so that it need be compared with one only. */
export function newToken(tenant: string): string {
	const random = crypto.getRandomValues(new Uint8Array(32));
	const text = btoa(String.fromCharCode(...random));
	return `hst_${tenant}.${text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}
