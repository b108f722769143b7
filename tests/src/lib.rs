//! End-to-end tests against reference programs, real clients and real browsers.
//!
//! The tests themselves are in `tests/tests/`; what several of them need is in [`support`].

pub mod fanout;
pub mod playout;
pub mod support;
