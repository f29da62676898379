/** A WebAssembly module of the application: compiled when the isolate starts. */
declare module "*.wasm" {
	const module: WebAssembly.Module;
	export default module;
}
