/** A file of bytes. */
declare module "*.bin" {
	const bytes: ArrayBuffer;
	export default bytes;
}
