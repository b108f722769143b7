//! Seamcast player engine: demux, decode, timeline, prebuffer, schedule.
//!
//! Everything outside `shell` is a pure core that runs natively and never
//! reads a clock; `shell` exists on wasm32 only and binds the cores to
//! JavaScript and Web Audio.

#![deny(unsafe_code)]

pub mod decode;
pub mod engine;
pub mod mix;
pub mod prebuffer;
pub mod resample;
pub mod schedule;
#[cfg(target_arch = "wasm32")]
pub mod shell;
pub mod stream;
pub mod stretch;
pub mod timeline;
