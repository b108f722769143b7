//! Seamcast relay: takes live audio from sources and fans it out to listeners.

pub mod fanout;
pub mod files;
pub mod mount;
