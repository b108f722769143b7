//! Mounts: their names, their stream log, their state and where they are kept.

pub mod log;
