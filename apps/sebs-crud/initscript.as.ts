// Fetches what the event's requests read before the first that writes; what comes after it may be other than now.
import { Connection, connect, expect, input, jsonItems, jsonText, jsonValue, s3Get, s3List } from "headstart";

const FOLDER = "crud/shopping_cart/";

export function headstart_main(): i32 {
	const store = connect("s3://sebs");
	const fetched = new Set<string>();
	const requests = jsonItems(jsonValue(input(), "requests"));
	for (let at = 0; at < requests.length; at++) {
		const route = jsonText(requests[at], "route");
		const body = jsonValue(requests[at], "body");
		const cart = jsonText(body, "cart");
		if (route === null || cart === null || !route.startsWith("GET ")) break;
		const folder = FOLDER + escapeSegment(cart) + "/";
		if (route == "GET /cart") {
			const keys = s3List(store, folder);
			for (let key = 0; key < keys.length; key++) fetch(store, keys[key], fetched);
		} else {
			const product = jsonText(body, "product_id");
			if (product !== null) fetch(store, folder + escapeSegment(product) + ".json", fetched);
		}
	}
	return 0;
}

/** Each object once: a message is sent once. */
function fetch(store: Connection, key: string, fetched: Set<string>): void {
	if (fetched.has(key)) return;
	fetched.add(key);
	expect(1);
	s3Get(store, key);
}

/** A value as the table of the storage library names it: letters, digits, "-" and "_", other bytes as "=XX". */
function escapeSegment(value: string): string {
	const bytes = Uint8Array.wrap(String.UTF8.encode(value));
	let segment = "";
	for (let at = 0; at < bytes.length; at++) {
		const byte = bytes[at];
		const text = String.fromCharCode(byte);
		segment += isPlain(byte) ? text : "=" + (byte < 16 ? "0" : "") + byte.toString(16).toUpperCase();
	}
	return segment == "" ? "=" : segment;
}

function isPlain(byte: u8): bool {
	const lower = byte | 0x20;
	return (lower >= 0x61 && lower <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte == 0x2d || byte == 0x5f;
}
