//! `Output`: blocks as AudioBufferSourceNodes on the context's clock.
//!
//! Buffers have the context's own rate and start on whole frames at
//! `frame / sampleRate`, so no engine resamples or rounds and neighbours join
//! without a seam.

use std::collections::VecDeque;

use wasm_bindgen::prelude::*;
use web_sys::{AudioBufferSourceNode, AudioNode, BaseAudioContext};

use super::Engine;

/// Sources remembered so that they can be cancelled.
const MAX_SOURCES: usize = 4096;

struct Source {
    node: AudioBufferSourceNode,
    start: u64,
    end: u64,
}

/// Plays an engine's blocks through a node of a Web Audio context.
#[wasm_bindgen]
pub struct Output {
    context: BaseAudioContext,
    destination: AudioNode,
    sources: VecDeque<Source>,
}

#[wasm_bindgen]
impl Output {
    /// Plays into `destination`, a node of `context`.
    #[wasm_bindgen(constructor)]
    pub fn new(context: BaseAudioContext, destination: AudioNode) -> Self {
        Self {
            context,
            destination,
            sources: VecDeque::new(),
        }
    }

    /// Schedules every block `engine` has ready, later where `frame`, the context's present
    /// one, has passed its start since the poll. Returns how many.
    ///
    /// # Errors
    /// When the context refuses a node or a buffer (it was closed).
    pub fn schedule(&mut self, engine: &mut Engine, frame: f64) -> Result<u32, JsValue> {
        let rate = self.context.sample_rate();
        let now = (self.context.current_time() * f64::from(rate)) as u64;
        while self.sources.front().is_some_and(|s| s.end < now) || self.sources.len() > MAX_SOURCES
        {
            self.sources.pop_front();
        }
        let core = engine.core();
        core.catch_up(frame.max(0.0) as u64);
        let channels = core.channels();
        let mut scheduled = 0;
        while let Some(slot) = core.next_slot() {
            let buffer = self
                .context
                .create_buffer(channels as u32, slot.frames as u32, rate)?;
            for channel in 0..channels {
                buffer.copy_to_channel(core.pcm(slot, channel), channel as i32)?;
            }
            let node = self.context.create_buffer_source()?;
            node.set_buffer(Some(&buffer));
            node.connect_with_audio_node(&self.destination)?;
            node.start_with_when(slot.context as f64 / f64::from(rate))?;
            self.sources.push_back(Source {
                node,
                start: slot.context,
                end: slot.context + slot.frames,
            });
            scheduled += 1;
        }
        Ok(scheduled)
    }

    /// Silences whatever starts at or after `frame`, and cuts what crosses it
    /// (for a `cancel` event).
    pub fn cancel(&mut self, frame: f64) {
        let frame = frame.round() as u64;
        let when = frame as f64 / f64::from(self.context.sample_rate());
        for source in &self.sources {
            if source.start >= frame {
                // Fails only if it never started, and then it is silent anyway.
                let _ = source.node.disconnect();
            } else if source.end > frame {
                stop(&source.node, when);
            }
        }
        self.sources.retain(|source| source.start < frame);
    }
}

fn stop(node: &AudioBufferSourceNode, when: f64) {
    // Fails only on a node that never started.
    let scheduled: &web_sys::AudioScheduledSourceNode = node;
    let _ = scheduled.stop_with_when(when);
}
