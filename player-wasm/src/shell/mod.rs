//! What JavaScript sees: thin wrappers around the cores.

mod decoder;
mod engine;
mod libc;
mod output;

pub use decoder::StreamDecoder;
pub use engine::{Block, Engine};
pub use output::Output;

use js_sys::{Object, Reflect};
use wasm_bindgen::prelude::*;

/// A plain object of these fields.
fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        // Fails on frozen objects and proxies only.
        let _ = Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object
}

/// No panic is expected; should one happen after all, it reaches the caller as
/// an exception that says where, instead of a bare trap.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| {
        wasm_bindgen::throw_str(&info.to_string());
    }));
}
