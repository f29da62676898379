/** Small text helpers of the emitters. */

/** A block comment with `doc`, one line each, or nothing; ends with a line break. */
export function blockComment(doc: string, indent = ""): string {
	if (doc === "") return "";
	const lines = doc.split("\n").map((line) => line.trim());
	if (lines.length === 1) return `${indent}/** ${lines[0] ?? ""} */\n`;
	return `${indent}/**\n${lines.map((line) => `${indent} * ${line}\n`).join("")}${indent} */\n`;
}

/** `recvRpcReply` → `recv_rpc_reply`. */
export function snakeCase(name: string): string {
	return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/^_/, "");
}
