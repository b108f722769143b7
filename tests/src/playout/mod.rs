//! The playout laboratory: an exact playout model, seeded arrival traces, peers and plots.
//!
//! `playout` runs the player's prebuffer core on traces from files, `bench-playout`
//! on the traces made here and, where found, on measured ones.

pub mod bounds;
pub mod cli;
pub mod generate;
pub mod model;
pub mod peers;
pub mod plot;
pub mod random;
pub mod report;
pub mod validate;
