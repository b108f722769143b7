//! What JavaScript sees: thin wrappers around the cores.

mod celt_tables;
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

/// Runs as soon as the module is there.
#[wasm_bindgen(start)]
fn start() {
    celt_tables::fill();
}
