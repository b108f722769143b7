//! Makes the JavaScript glue of one of the player's wasm modules:
//! `xtask-bindgen INPUT.wasm OUT_DIR` writes `glue.js`, `glue.d.ts` and `glue_bg.wasm`.

use anyhow::{Context, bail};
use walrus::{FunctionBuilder, FunctionKind, Module, ValType};
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
    let mut made = bindgen
        .generate_output()
        .with_context(|| format!("cannot make the glue of {input}"))?;
    let count = silence_panics(made.wasm_mut());
    if count < 5 {
        bail!("found {count} panicking functions in {input}: have their names changed?");
    }
    made.emit(out_dir)
        .with_context(|| format!("cannot write to {out_dir}"))
}

/// Where Rust's panics end; none of them returns.
const PANICS: [&str; 7] = [
    "core::panicking::",
    "core::slice::index::slice_index_fail",
    "core::str::slice_error_fail",
    "core::option::expect_failed",
    "core::option::unwrap_failed",
    "core::result::unwrap_failed",
    "alloc::raw_vec::handle_error",
];

/// A panic traps at once instead of composing a message first: what stable Rust
/// has no flag for (`panic_immediate_abort`), and kilobytes of brotli. `{:?}`,
/// which nothing but these messages should use, writes nothing: unlike the rest
/// it is reached through tables, where wasm-opt cannot see that it is dead.
/// Returns how many functions were replaced.
fn silence_panics(module: &mut Module) -> usize {
    let mut found = Vec::new();
    for (id, function) in module.funcs.iter_local() {
        let name = module.funcs.get(id).name.as_deref().unwrap_or_default();
        let name = without_hashes(name);
        let debug = name.contains(" as core::fmt::Debug>::fmt");
        if debug || PANICS.iter().any(|panic| name.starts_with(panic)) {
            found.push((id, function.ty(), function.args.clone(), debug));
        }
    }
    for (id, ty, args, debug) in &found {
        let ty = module.types.get(*ty);
        let (params, results) = (ty.params().to_vec(), ty.results().to_vec());
        let mut builder = FunctionBuilder::new(&mut module.types, &params, &results);
        if *debug && results == [ValType::I32] {
            // `Ok(())`
            builder.func_body().i32_const(0);
        } else {
            builder.func_body().unreachable();
        }
        module.funcs.get_mut(*id).kind = FunctionKind::Local(builder.local_func(args.clone()));
    }
    found.len()
}

/// `core[c5930c85a12de822]::str::count` → `core::str::count`
fn without_hashes(name: &str) -> String {
    let mut depth = 0;
    let mut out = String::new();
    for c in name.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}
