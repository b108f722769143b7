//! Tells xtask which machine it runs on, so that fuzz targets can be built for it by name.

fn main() {
    let host = std::env::var("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=XTASK_HOST={host}");
    println!("cargo:rerun-if-changed=build.rs");
}
