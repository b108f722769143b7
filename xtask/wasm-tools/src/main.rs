//! Finishes one of the player's wasm modules after wasm-bindgen, and takes out what it need not
//! carry: `xtask-module INPUT.wasm OUTPUT.wasm`.

use anyhow::{Context, bail};
use walrus::{FunctionBuilder, FunctionKind, Import, ImportKind, Module, ValType};
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
        .remove_producers_section(true);
    // For bundlers: what the module imports are exports of the glue.
    bindgen.bundler(true)?;
    let mut made = bindgen
        .generate_output()
        .with_context(|| format!("cannot bind the module {input}"))?;
    let glue = made.start().context("wasm-bindgen made no glue")?.clone();
    let module = made.wasm_mut();
    trap_instead_of_throwing(module)?;
    leave_exports(module);
    let count = silence_panics(module);
    if count < 5 {
        bail!("found {count} panicking functions in {input}: have their names changed?");
    }
    walrus::passes::gc::run(module);
    rename_imports(module, &glue)?;
    module
        .emit_wasm_file(output)
        .with_context(|| format!("cannot write the module {output}"))
}

/// What wasm-bindgen throws, as of a freed object, traps like a panic.
fn trap_instead_of_throwing(module: &mut Module) -> anyhow::Result<()> {
    let throws = |import: &&Import| import.name.contains("__wbindgen_throw");
    let Some(import) = module.imports.iter().find(throws) else {
        return Ok(());
    };
    let (import, ImportKind::Function(id)) = (import.id(), import.kind.clone()) else {
        bail!("{} is imported, which is no function", import.name);
    };
    let ty = module.types.get(module.funcs.get(id).ty());
    let (params, results) = (ty.params().to_vec(), ty.results().to_vec());
    let args = params.iter().map(|ty| module.locals.add(*ty)).collect();
    let mut builder = FunctionBuilder::new(&mut module.types, &params, &results);
    builder.func_body().unreachable();
    module.funcs.get_mut(id).kind = FunctionKind::Local(builder.local_func(args));
    module.imports.delete(import);
    Ok(())
}

/// Leaves the exports that `web/src/wasm.js` calls and those that the glue may; the linker exports also what libopus calls.
fn leave_exports(module: &mut Module) {
    let mut surplus = Vec::new();
    for export in module.exports.iter_mut() {
        let freed = export.name.strip_prefix("__wbg_");
        if let Some(class) = freed.and_then(|name| name.strip_suffix("_free")) {
            export.name = format!("{class}_free");
        }
        let ours = ["engine_", "decoder_", "memory", "__wb", "__externref"];
        if !ours.iter().any(|begin| export.name.starts_with(begin)) {
            surplus.push(export.id());
        }
    }
    for id in surplus {
        module.exports.delete(id);
    }
}

/// What `web/src/wasm.js` calls each import, and what wasm-bindgen's own glue does in its place.
const IMPORTS: [(&str, &str); 12] = [
    ("array", "const ret = new Array();"),
    ("object", "const ret = new Object();"),
    ("number", "// Cast intrinsic for `F64 -> Externref`."),
    ("text", "// Cast intrinsic for `Ref(String) -> Externref`."),
    (
        "floats",
        "const ret = new Float32Array(getArrayF32FromWasm0(arg0, arg1));",
    ),
    ("now", "const ret = arg0.now();"),
    ("length", "const ret = arg0.length;"),
    ("part", "const ret = arg0.subarray(arg1 >>> 0, arg2 >>> 0);"),
    (
        "copy",
        "Uint8Array.prototype.set.call(getArrayU8FromWasm0(arg0, arg1), arg2);",
    ),
    ("push", "const ret = arg0.push(arg1);"),
    ("set", "arg0[getStringFromWasm0(arg1, arg2)] = arg3;"),
    (
        "constants",
        "table.set(1024, undefined);\ntable.set(1025, null);\ntable.set(1026, true);\ntable.set(1027, false);",
    ),
];

/// Gives what is imported the names by which `web/src/wasm.js` has it.
fn rename_imports(module: &mut Module, glue: &str) -> anyhow::Result<()> {
    for import in module.imports.iter_mut() {
        if !matches!(import.kind, ImportKind::Function(_)) {
            bail!("{} is imported, which is no function", import.name);
        }
        let body = glue
            .split_once(&format!("export function {}(", import.name))
            .and_then(|(_, rest)| rest.split_once("\n}"))
            .map_or("", |(function, _)| function);
        let Some((name, _)) = IMPORTS.iter().find(|(_, does)| body.contains(does)) else {
            bail!(
                "web/src/wasm.js has nothing for {}, which is {body}",
                import.name
            );
        };
        (import.module, import.name) = ("js".to_owned(), (*name).to_owned());
    }
    Ok(())
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
