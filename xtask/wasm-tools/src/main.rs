//! Takes out of one of the player's wasm modules what it need not carry:
//! `xtask-module INPUT.wasm OUTPUT.wasm`.

use anyhow::{Context, bail};
use walrus::{ExportItem, FunctionBuilder, FunctionKind, Module, ValType};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = args.as_slice() else {
        bail!("usage: xtask-module INPUT.wasm OUTPUT.wasm");
    };
    let mut module =
        Module::from_file(input).with_context(|| format!("cannot read the module {input}"))?;
    keep_interface(&mut module);
    let count = silence_panics(&mut module);
    if count < 5 {
        bail!("found {count} panicking functions in {input}: have their names changed?");
    }
    walrus::passes::gc::run(&mut module);
    module
        .emit_wasm_file(output)
        .with_context(|| format!("cannot write the module {output}"))
}

/// Leaves the exports that JavaScript uses; the linker exports also what libopus calls.
fn keep_interface(module: &mut Module) {
    let surplus: Vec<_> = module
        .exports
        .iter()
        .filter(|export| match export.item {
            ExportItem::Function(_) => {
                let name = &export.name;
                name != "start" && !name.starts_with("engine_") && !name.starts_with("decoder_")
            }
            ExportItem::Memory(_) => false,
            _ => true,
        })
        .map(|export| export.id())
        .collect();
    for id in surplus {
        module.exports.delete(id);
    }
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
        let name = without_hashes(&format!("{:#}", rustc_demangle::demangle(name)));
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
