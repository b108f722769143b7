//! Pages and packets: every byte is in a page or in junk, and packets stay
//! within their bound. (The `ogg` crate skips checksums when fuzzed.)
#![no_main]

use libfuzzer_sys::fuzz_target;
use seamcast_media::ogg::{Assembler, Found, Reader, first_sequence, lead_in};

fuzz_target!(|input: &[u8]| {
    let mut reader = Reader::new();
    let mut assembler = Assembler::new(1 << 16);
    let mut bytes = 0;
    let mut take = |reader: &mut Reader| {
        while let Some(found) = reader.poll() {
            match found {
                Found::Page(page) => {
                    bytes += 27 + page.lacing.len() as u64 + page.body.len() as u64;
                    for whole in assembler.add(&page).packets {
                        assert!(whole.payload.len() <= 1 << 16);
                    }
                }
                Found::Junk { len, .. } => bytes += len,
            }
        }
    };
    let cut = input.first().map_or(1, |&b| usize::from(b) + 1);
    for piece in input.chunks(cut) {
        reader.push(piece);
        take(&mut reader);
    }
    reader.finish();
    take(&mut reader);
    assert_eq!(bytes, input.len() as u64);
    let lead_in = lead_in(input, 7);
    assert!(lead_in.starts_with(input));
    assert!(lead_in.len() <= input.len() + 7 * 27);
    assert_eq!(first_sequence(&lead_in), first_sequence(input));
});
