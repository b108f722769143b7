//! Request heads: sniffing never contradicts itself, parsing never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_server::ingest::head::{Head, Verdict, check, icy_password, parse_icy, sniff};

fuzz_target!(|bytes: &[u8]| {
    let whole = sniff(bytes);
    if let Verdict::Source(len) = whole {
        assert!(len <= bytes.len());
        assert_eq!(sniff(&bytes[..len]), whole);
        let _ = Head::parse(&bytes[..len]);
    }
    // A verdict on a prefix stands.
    let half = sniff(&bytes[..bytes.len() / 2]);
    if half != Verdict::More {
        assert_eq!(half, whole);
    }
    let _ = Head::parse(bytes);
    let _ = check(bytes);
    let _ = icy_password(bytes);
    let _ = parse_icy(bytes);
});
