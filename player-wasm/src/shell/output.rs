//! `Output`: blocks as AudioBufferSourceNodes on the context's clock.

use wasm_bindgen::prelude::*;
use web_sys::{AudioNode, BaseAudioContext};

use super::Engine;

/// Plays an engine's blocks through a node of a Web Audio context.
#[wasm_bindgen]
pub struct Output {}

#[wasm_bindgen]
impl Output {
    /// Plays into `destination`, a node of `context`.
    #[wasm_bindgen(constructor)]
    pub fn new(context: BaseAudioContext, destination: AudioNode) -> Self {
        let _ = (context, destination);
        Self {}
    }

    /// Schedules every block `engine` has ready. Returns how many.
    pub fn schedule(&mut self, engine: &mut Engine) -> u32 {
        let _ = engine;
        0
    }

    /// Silences whatever starts at or after `frame`, and cuts what crosses it
    /// (for a `cancel` event).
    pub fn cancel(&mut self, frame: f64) {
        let _ = frame;
    }
}
