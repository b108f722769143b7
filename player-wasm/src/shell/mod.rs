//! What JavaScript sees: functions of numbers, made of the cores. Bytes are read
//! from its side piece by piece; whatever is more than one number is put
//! together there, on a stack (`web/src/wasm.js` is that side).

mod celt_tables;
mod decoder;
mod engine;
mod libc;

use wasm_bindgen::prelude::wasm_bindgen;

// The other side, `web/src/wasm.js` instead of the glue that wasm-bindgen would generate
// (`xtask/wasm-tools` leaves it): slices arrive there as where they lie and how long they are.
#[wasm_bindgen]
extern "C" {
    /// Milliseconds of a monotonic clock. Only for `decodeTimeMs`; the engine itself reads no clock.
    fn now() -> f64;
    /// Copies the call's bytes from `from` on to memory.
    #[wasm_bindgen(js_name = read)]
    fn read_to(to: *mut u8, from: usize, length: usize);
    fn number(value: f64);
    fn text(text: &str);
    /// Puts a copy on the stack.
    fn floats(samples: &[f32]);
    /// Makes one of the last values.
    fn list(length: usize);
    /// Makes one of the last values, each a list of name and value.
    #[wasm_bindgen(js_name = object)]
    fn end_object(fields: usize);
}

/// The call's bytes between two positions, in `input`.
fn read(input: &mut Vec<u8>, from: usize, to: usize) {
    input.resize(to - from, 0);
    read_to(input.as_mut_ptr(), from, input.len());
}

/// What a field or an element holds.
enum Value<'a> {
    Number(f64),
    Text(&'a str),
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

/// Puts a number or a text on the stack.
fn put<'a>(value: impl Into<Value<'a>>) {
    match value.into() {
        Value::Number(value) => number(value),
        Value::Text(value) => text(value),
    }
}

/// A field of the object to come: `value` puts one value on the stack.
fn field(name: &str, value: impl FnOnce()) {
    put(name);
    value();
    list(2);
}

/// Puts an object of these fields on the stack.
fn object(fields: &[(&str, Value<'_>)]) {
    for (name, value) in fields {
        field(name, || match value {
            Value::Number(number) => put(*number),
            Value::Text(text) => put(*text),
        });
    }
    end_object(fields.len());
}

/// To be called once, before anything else.
#[wasm_bindgen]
pub fn start() {
    celt_tables::fill();
}
