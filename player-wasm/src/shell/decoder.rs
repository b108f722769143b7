//! `StreamDecoder`: bytes in, PCM out.

use wasm_bindgen::prelude::*;

/// Decodes Ogg/Opus or MP3 bytes cut in any way.
#[wasm_bindgen]
#[derive(Default)]
pub struct StreamDecoder {}

#[wasm_bindgen]
impl StreamDecoder {
    /// A decoder that recognises the container by itself.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self {}
    }

    /// Takes bytes and returns what could be decoded:
    /// `{channelData: Float32Array[], samplesDecoded, sampleRate, errors:
    /// [{message, offset, framesLost}], segments: [{start, samplesDecoded,
    /// channels, sampleRate}]}`.
    pub fn decode(&mut self, bytes: &[u8]) -> js_sys::Object {
        let _ = bytes;
        js_sys::Object::new()
    }

    /// End of input: the rest, in the same form.
    pub fn flush(&mut self) -> js_sys::Object {
        js_sys::Object::new()
    }

    /// Forgets everything; the next byte is the first of another stream.
    pub fn reset(&mut self) {}
}
