//! Opus: identification and comment headers (RFC 7845 §5), packet durations
//! (RFC 6716 §3).
