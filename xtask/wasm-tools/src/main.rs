//! Finishes one of the player's wasm modules after wasm-bindgen, and takes out what it need not
//! carry: `xtask-module INPUT.wasm OUTPUT.wasm`.

use anyhow::{Context, bail};
use walrus::{ExportItem, FunctionBuilder, FunctionKind, ImportKind, Module, ValType};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = args.as_slice() else {
        bail!("usage: xtask-module INPUT.wasm OUTPUT.wasm");
    };
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(input)
        .out_name("seamcast")
        .typescript(false)
        .omit_default_module_path(true)
        .remove_producers_section(true);
    bindgen.web(true)?;
    // Its glue is left: every function takes and returns numbers, and `web/src/wasm.js` is shorter.
    let mut made = bindgen
        .generate_output()
        .with_context(|| format!("cannot bind the module {input}"))?;
    let module = made.wasm_mut();
    name_interface(module)?;
    let count = silence_panics(module);
    if count < 5 {
        bail!("found {count} panicking functions in {input}: have their names changed?");
    }
    walrus::passes::gc::run(module);
    module
        .emit_wasm_file(output)
        .with_context(|| format!("cannot write the module {output}"))
}

/// Gives imports and exports the names that `web/src/wasm.js` uses, and leaves only those.
fn name_interface(module: &mut Module) -> anyhow::Result<()> {
    let mut own = Vec::new();
    for import in module.imports.iter_mut() {
        let ImportKind::Function(function) = import.kind else {
            bail!("{} is imported, which is no function", import.name);
        };
        match declared(&import.name) {
            Some(name) => (import.module, import.name) = ("js".to_owned(), name.to_owned()),
            // wasm-bindgen's own, to throw and for tables that nothing here uses.
            None => own.push((import.id(), function, import.name.clone())),
        }
    }
    for (import, id, name) in own {
        let ty = module.types.get(module.funcs.get(id).ty());
        let (params, results) = (ty.params().to_vec(), ty.results().to_vec());
        let args = params.iter().map(|ty| module.locals.add(*ty)).collect();
        let mut builder = FunctionBuilder::new(&mut module.types, &params, &results);
        match name.as_str() {
            name if name.contains("throw") => drop(builder.func_body().unreachable()),
            name if name.contains("init_externref_table") => {}
            name => bail!("wasm-bindgen imports {name}, which web/src/wasm.js does not have"),
        }
        module.funcs.get_mut(id).kind = FunctionKind::Local(builder.local_func(args));
        module.imports.delete(import);
    }
    let mut surplus = Vec::new();
    for export in module.exports.iter_mut() {
        let wanted = match export.item {
            ExportItem::Function(_) => {
                let freed = export.name.strip_prefix("__wbg_");
                if let Some(class) = freed.and_then(|name| name.strip_suffix("_free")) {
                    export.name = format!("{class}_free");
                }
                let name = &export.name;
                name == "start" || name.starts_with("engine_") || name.starts_with("decoder_")
            }
            ExportItem::Memory(_) => true,
            _ => false,
        };
        if !wanted {
            surplus.push(export.id());
        }
    }
    for id in surplus {
        module.exports.delete(id);
    }
    Ok(())
}

/// `__wbg_now_0123456789abcdef` → `now`; `None` for what wasm-bindgen itself needs.
fn declared(name: &str) -> Option<&str> {
    let (name, hash) = name.strip_prefix("__wbg_")?.rsplit_once('_')?;
    let hashed = hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hashed && !name.starts_with("__wbindgen")).then_some(name)
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
