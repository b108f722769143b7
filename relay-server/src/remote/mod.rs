//! Other servers as people and their redirects name them. Pure, so that the
//! configuration is refused for what could never be asked or sent.

mod destination;
mod fetch;

pub use destination::Destination;
pub(crate) use fetch::{header, resolve, url};
