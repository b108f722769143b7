//! RTP (RFC 3550): packets, payload formats, SDP, and a receiver that puts
//! packets back in order.

mod depacketize;
mod format;
mod packet;
mod receiver;

pub use depacketize::{Depacketizer, Filled, Media};
pub use format::{Format, SdpError, Session};
pub use packet::{Error, Packet, bye_sources, is_rtcp};
pub use receiver::{Config, Event, Receiver, Stats};
