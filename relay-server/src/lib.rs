//! Seamcast relay: takes live audio from sources and fans it out to listeners.
//!
//! [`server::run`] is the whole relay behind a listening socket that the
//! caller owns.

#![recursion_limit = "256"]

pub mod access;
pub mod auth;
pub mod config;
pub mod decode;
pub mod demo;
pub mod fanout;
pub mod files;
pub mod forward;
mod front;
pub mod http;
pub mod ingest;
pub mod input;
mod link;
pub mod mount;
pub mod publish;
pub mod record;
mod remote;
pub mod restart;
pub mod server;
pub mod tls;

pub use config::Config;
