//! Everything between a source's socket and a mount's log.

mod brake;
pub mod feed;
mod flac;
pub(crate) mod framed;
pub mod head;
pub mod media_type;
pub mod pcm;
pub(crate) mod raw;
pub mod session;
pub(crate) mod socket;
