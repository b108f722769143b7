//! What JavaScript sees: the cores behind wasm-bindgen. Bytes come as `Uint8Array`s and are copied
//! piece by piece; results are arrays and plain objects in JavaScript's own memory.

mod celt_tables;
mod decoder;
mod engine;
mod libc;

use js_sys::{Array, Object, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// A plain object under construction: `Reflect.set()` of fields that cannot fail.
    #[wasm_bindgen(extends = Object)]
    type Record;
    #[wasm_bindgen(method, structural, indexing_setter)]
    fn set(this: &Record, name: &str, value: JsValue);
}

/// A plain object of these fields.
fn object<const N: usize>(fields: [(&str, JsValue); N]) -> JsValue {
    let record: Record = JsValue::from(Object::new()).into();
    for (name, value) in fields {
        record.set(name, value);
    }
    record.into()
}

/// An array of these values.
fn array(values: impl IntoIterator<Item = JsValue>) -> JsValue {
    let array = Array::new();
    for value in values {
        array.push(&value);
    }
    array.into()
}

/// Runs `take` on pieces of `bytes`, one after another in `buffer`.
fn pieces(bytes: &Uint8Array, piece: u32, buffer: &mut Vec<u8>, mut take: impl FnMut(&[u8])) {
    let length = bytes.length();
    let mut at = 0;
    while at < length {
        let end = length.min(at + piece);
        read(&bytes.subarray(at, end), buffer);
        take(buffer);
        at = end;
    }
}

/// Copies `bytes` into `buffer`, whatever was there.
fn read(bytes: &Uint8Array, buffer: &mut Vec<u8>) {
    buffer.resize(bytes.length() as usize, 0);
    bytes.copy_to(buffer);
}

/// Called by itself, before anything else.
#[wasm_bindgen(start)]
pub fn start() {
    celt_tables::fill();
}
