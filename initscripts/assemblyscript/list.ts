/** Listing a bucket: what the storage library's `list_keys` claims, page by page. */
import { Connection, expectMsg, fnv1a64, percentEncode, replyBytes, sendReply, sendRpc } from "./index";

/** A store's pages have at most 1000 keys. */
const PAGES = 64;

/**
 * Lists a bucket's keys that begin with `prefix`, passes each page on to the application, and waits for it. The keys; those
 * of the pages that came when one fails.
 */
export function s3List(bucket: Connection, prefix: string): string[] {
	const keys: string[] = [];
	const filter = "list-type=2&prefix=" + percentEncode(prefix, false);
	let token = "";
	for (let page = 0; page < PAGES; page++) {
		const path = "/?" + (token == "" ? "" : "continuation-token=" + percentEncode(token, false) + "&") + filter;
		const id = fnv1a64("GET " + bucket.address + path);
		expectMsg(id);
		if (sendRpc(bucket, id, "GET " + path + "\n\n") < 0) break;
		sendReply(id, id);
		const bytes = replyBytes(bucket, id);
		if (bytes === null) break;
		const answer = String.UTF8.decode(bytes);
		addElements(answer, "Key", keys);
		const tokens: string[] = [];
		if (answer.includes("<IsTruncated>true</IsTruncated>"))
			addElements(answer, "NextContinuationToken", tokens);
		if (tokens.length == 0) break;
		token = tokens[0];
	}
	return keys;
}

/** The texts of all elements of a name. */
function addElements(xml: string, name: string, to: string[]): void {
	const open = "<" + name + ">";
	const close = "</" + name + ">";
	for (let at = xml.indexOf(open); at >= 0; at = xml.indexOf(open, at)) {
		at += open.length;
		const end = xml.indexOf(close, at);
		if (end < 0) return;
		to.push(unescape(xml.substring(at, end)));
		at = end;
	}
}

/** Character data with its references replaced; one that is not known stays. */
function unescape(text: string): string {
	let plain = "";
	let from = 0;
	for (let at = text.indexOf("&"); at >= 0; at = text.indexOf("&", at + 1)) {
		const end = text.indexOf(";", at);
		if (end < 0) break;
		const code = referenced(text.substring(at + 1, end));
		if (code < 0) continue;
		plain += text.substring(from, at) + String.fromCodePoint(code);
		from = end + 1;
	}
	return plain + text.substring(from);
}

/** The character that a reference names; -1 when it is not known. */
function referenced(name: string): i32 {
	if (name == "amp") return 0x26;
	if (name == "lt") return 0x3c;
	if (name == "gt") return 0x3e;
	if (name == "quot") return 0x22;
	if (name == "apos") return 0x27;
	if (!name.startsWith("#") || name.length < 2 || name.length > 8) return -1;
	const hex = name.charCodeAt(1) == 0x78;
	const code = <i32>parseInt(name.substring(hex ? 2 : 1), hex ? 16 : 10);
	return code > 0 && code <= 0x10ffff ? code : -1;
}
