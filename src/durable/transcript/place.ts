/** Ports that an address need not say, by its scheme. */
const DEFAULT_PORTS: { [scheme: string]: string } = {
	http: "80",
	grpc: "80",
	https: "443",
	grpcs: "443",
	redis: "6379",
	rediss: "6379",
	memcached: "11211",
};

/**
 * Where an address leads, as the bridge names it in what it tells of connections: without a framing and a default port.
 *
 * @example placeOf("tcp://DB:1?frame=line") // "tcp://db:1"
 */
export function placeOf(address: string): string {
	const [, scheme = "", authority = ""] = /^([a-z0-9]+):\/\/([^/?#]*)/i.exec(address) ?? [];
	if (scheme === "") return address;
	const name = scheme.toLowerCase();
	const port = DEFAULT_PORTS[name];
	const host = authority.toLowerCase();
	return `${name}://${port !== undefined && host.endsWith(`:${port}`) ? host.slice(0, -port.length - 1) : host}`;
}
