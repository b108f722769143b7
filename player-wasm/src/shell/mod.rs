//! What JavaScript sees: functions of numbers, made of the cores. Bytes are read
//! from its side piece by piece; whatever is more than one number is put
//! together there, on a stack (`web/src/wasm.js` is that side).

mod celt_tables;
mod decoder;
mod engine;
mod libc;

/// The other side.
// Imports cannot be declared otherwise. They only read and write what they are
// given, and it throws there if that does not lie in our memory.
#[allow(unsafe_code)]
mod js {
    #[link(wasm_import_module = "js")]
    unsafe extern "C" {
        /// Milliseconds of a monotonic clock.
        pub(super) safe fn now() -> f64;
        /// Copies the call's bytes from `from` on to memory.
        pub(super) safe fn read(to: *mut u8, from: usize, length: usize);
        pub(super) safe fn number(value: f64);
        pub(super) safe fn text(at: *const u8, length: usize);
        pub(super) safe fn floats(at: *const f32, length: usize);
        /// Makes one of the last values.
        pub(super) safe fn list(length: usize);
        /// Makes one of the last values, each a list of name and value.
        pub(super) safe fn object(fields: usize);
    }
}

/// Only for `decodeTimeMs`; the engine itself reads no clock.
fn now() -> f64 {
    js::now()
}

/// The call's bytes between two positions, in `input`.
fn read(input: &mut Vec<u8>, from: usize, to: usize) {
    input.resize(to - from, 0);
    js::read(input.as_mut_ptr(), from, input.len());
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
        Value::Number(number) => js::number(number),
        Value::Text(text) => js::text(text.as_ptr(), text.len()),
    }
}

/// Puts a copy of `samples` on the stack.
fn floats(samples: &[f32]) {
    js::floats(samples.as_ptr(), samples.len());
}

/// Makes the last `length` values a list.
fn list(length: usize) {
    js::list(length);
}

/// A field of the object to come: `value` puts one value on the stack.
fn field(name: &str, value: impl FnOnce()) {
    put(name);
    value();
    list(2);
}

/// Makes the last `fields` fields an object.
fn end_object(fields: usize) {
    js::object(fields);
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
#[allow(unsafe_code)] // Exports cannot be named otherwise.
#[unsafe(no_mangle)]
extern "C" fn start() {
    celt_tables::fill();
}
