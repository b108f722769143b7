//! What JavaScript sees: thin wrappers around the cores.

mod celt_tables;
mod decoder;
mod engine;
mod libc;

pub use decoder::StreamDecoder;
pub use engine::Engine;

use js_sys::Object;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `js_sys::Reflect::set`, without the glue that catches what a plain object never throws.
    #[wasm_bindgen(js_namespace = Reflect, js_name = set)]
    fn set(object: &Object, name: &str, value: &JsValue) -> bool;
}

/// A plain object of these fields.
fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        set(&object, name, value);
    }
    object
}

/// Runs as soon as the module is there.
#[wasm_bindgen(start)]
fn start() {
    celt_tables::fill();
}
