/** What a presigned URL gives leave by: Amazon's, Google's, Azure's, and older ones. */
const SIGNATURE = /([?&](?:X-Amz-Signature|X-Amz-Security-Token|X-Goog-Signature|Signature|sig)=)[^&#]+/gi;

/**
 * A content as it may be shown. Who reads a record may not for that reason do what it tells of.
 *
 * @example shown("PUT http://h/b/k?X-Amz-Signature=0a1b") // "PUT http://h/b/k?X-Amz-Signature=…"
 */
export function shown(content: string): string {
	return content.includes("?") ? content.replace(SIGNATURE, "$1…") : content;
}
