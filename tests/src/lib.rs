//! End-to-end tests against reference programs, real clients and real browsers.
