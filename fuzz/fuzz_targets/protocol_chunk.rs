//! Media messages: what decodes encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seamcast_protocol::chunk::Header;

fuzz_target!(|message: &[u8]| {
    if let Ok((header, payload)) = Header::decode(message) {
        let again = [header.encode().as_slice(), payload].concat();
        assert_eq!(Header::decode(&again), Ok((header, payload)));
    }
});
