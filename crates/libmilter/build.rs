//! Builds the part that has to be C, and names the library as the stock one is named.

fn main() {
    println!("cargo::rerun-if-changed=src/ffi/setmlreply.c");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    cc::Build::new()
        .file("src/ffi/setmlreply.c")
        .warnings(true)
        .extra_warnings(true)
        .compile("tamis_setmlreply");
    // The name that programs built on Debian ask the loader for.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libmilter.so.1.0.1");
}
