//! MPEG framing: what is found does not depend on how the input was cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seamcast_media::mp3::{Framer, Header, Info, id3_tags};

fn found(input: &[u8], cut: usize) -> Vec<seamcast_media::mp3::Found> {
    let mut framer = Framer::new();
    let mut all = Vec::new();
    for piece in input.chunks(cut) {
        framer.push(piece);
        all.extend(std::iter::from_fn(|| framer.poll()));
    }
    framer.finish();
    all.extend(std::iter::from_fn(|| framer.poll()));
    all
}

fuzz_target!(|input: &[u8]| {
    assert_eq!(found(input, 1), found(input, usize::MAX));
    let _ = id3_tags(input);
    if let Some(header) = Header::parse(input) {
        let _ = Info::parse(&header, input).map(|info| info.trims(&header));
    }
});
