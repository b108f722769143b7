//! Seamcast player engine: demux, decode, timeline, prebuffer, schedule.
//!
//! Everything outside [`shell`](https://docs.rs/wasm-bindgen) is a pure core
//! that runs natively and never reads a clock; `shell` exists on wasm32 only
//! and binds the cores to JavaScript and Web Audio.

pub mod prebuffer;
#[cfg(target_arch = "wasm32")]
pub mod shell;
