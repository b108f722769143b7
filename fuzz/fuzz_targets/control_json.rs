//! JSON control messages: what parses can be written and parsed again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seamcast_protocol::control::{ClientMessage, ServerMessage, SourceMessage, SourceReply};

macro_rules! round_trip {
    ($kind:ty, $text:expr) => {
        if let Ok(message) = serde_json::from_slice::<$kind>($text) {
            let text = serde_json::to_string(&message).expect("written");
            serde_json::from_str::<$kind>(&text).expect("parsed again");
        }
    };
}

fuzz_target!(|text: &[u8]| {
    round_trip!(ClientMessage, text);
    round_trip!(ServerMessage, text);
    round_trip!(SourceMessage, text);
    round_trip!(SourceReply, text);
});
