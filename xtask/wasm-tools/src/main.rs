//! Makes the JavaScript glue of one of the player's wasm modules:
//! `xtask-bindgen INPUT.wasm OUT_DIR` writes `glue.js`, `glue.d.ts` and `glue_bg.wasm`.

use anyhow::{Context, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, out_dir] = args.as_slice() else {
        bail!("usage: xtask-bindgen INPUT.wasm OUT_DIR");
    };
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(input)
        .out_name("glue")
        .typescript(true)
        // The caller names the wasm file, SIMD or not, so the glue must not guess one
        // (and bundlers must not find a `new URL(…)` to a file that is not shipped).
        .omit_default_module_path(true)
        .remove_producers_section(true);
    bindgen.web(true)?;
    bindgen
        .generate(out_dir)
        .with_context(|| format!("cannot make the glue of {input}"))
}
