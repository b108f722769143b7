//! WebSocket messages shared by the Seamcast relay and player.
//!
//! `seamcast.v1` sends JSON text messages for control and binary messages for
//! media. A binary message carries nothing per listener, so the relay encodes
//! it once for all. See `README.md` beside this crate for the byte layout.

pub mod chunk;
pub mod close;
#[cfg(feature = "json")]
pub mod control;

/// WebSocket subprotocol of framed listeners.
pub const LISTENER_SUBPROTOCOL: &str = "seamcast.v1";
/// Media type of a response that holds what framed listeners get over a WebSocket.
pub const LISTENER_MEDIA_TYPE: &str = "application/vnd.seamcast.v1";
/// WebSocket subprotocol of sources.
pub const SOURCE_SUBPROTOCOL: &str = "seamcast.source.v1";
/// Ticks of media time in one second.
pub const TICKS_PER_SECOND: u64 = 705_600_000;
