//! Builds the part that has to be C, and names the library as the stock one is named.

fn main() {
    println!("cargo::rerun-if-changed=src/ffi/setmlreply.c");
    println!("cargo::rerun-if-env-changed=TAMIS_LIBMILTER_SONAME");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    cc::Build::new()
        .file("src/ffi/setmlreply.c")
        .warnings(true)
        .extra_warnings(true)
        .compile("tamis_setmlreply");
    // The name that programs built on Debian ask the loader for; `cargo xtask libmilter` may want another one.
    let name = std::env::var("TAMIS_LIBMILTER_SONAME").unwrap_or_else(|_| "libmilter.so.1.0.1".to_owned());
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,{name}");
}
