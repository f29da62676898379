//! Builds the first program of sandboxes whose files are an image (enter/enter.c).

use std::env;
use std::path::PathBuf;
use std::process::{Command, exit};

fn main() {
    println!("cargo::rerun-if-changed=enter/enter.c");
    println!("cargo::rerun-if-env-changed=CC");
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("enter");
    let mut command = Command::new(&compiler);
    command.args(["-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "enter/enter.c", "-o"]).arg(&out);
    if !command.status().is_ok_and(|status| status.success()) {
        println!(
            "cargo::error={} does not build enter/enter.c: install a C compiler and a static C library",
            compiler.display()
        );
        exit(1);
    }
}
