/**
 * A key as the path of its URL, in the canonical form that is part of an RPC's content: percent-encoded once, with one slash
 * before it. Throws URIError for a key that is not well-formed Unicode.
 */
export function escapePath(key: string): string {
	const percent = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
	const path = key.replace(/^\/+/, "").split("/").map(encodeURIComponent).join("/");
	return `/${path.replace(/[!'()*]/g, percent)}`;
}
