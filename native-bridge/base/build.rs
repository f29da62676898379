//! Compiles the schema with the `capnp` compiler (Debian: capnproto).

fn main() {
    let mut command = capnpc::CompilerCommand::new();
    command.src_prefix("../../schema");
    for name in ["errors", "bridge", "app"] {
        let file = format!("../../schema/{name}.capnp");
        println!("cargo::rerun-if-changed={file}");
        command.file(file);
    }
    if let Err(error) = command.run() {
        println!("cargo::error=the schema does not compile: {error}. Is `capnp` installed (Debian: capnproto)?");
    }
}
