//! What JavaScript sees: thin wrappers around the cores.

mod decoder;
mod engine;
mod libc;
mod output;

pub use decoder::StreamDecoder;
pub use engine::{Block, Engine};
pub use output::Output;
