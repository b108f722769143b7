//! Pure media state machines for Seamcast.
//!
//! Everything here is sans-IO: bytes go in by `push`, events come out by
//! `poll`, and no function reads a clock, opens a socket or touches a DOM.
//! Relay and player share these parsers, so both see the same stream.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

pub mod chunk;
pub mod demux;
pub mod icy;
pub mod mp3;
pub mod ogg;
pub mod opus;
pub mod pace;
pub mod pcm;
pub mod rtp;
pub mod units;
pub mod wav;
