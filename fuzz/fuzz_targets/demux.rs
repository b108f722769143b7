//! The whole way from bytes to chunks: trims fit their packets, and media time
//! never goes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seamcast_media::chunk::{Chunker, Config, Output};
use seamcast_media::demux::{Container, Demuxer, Event};
use seamcast_media::units::MediaTime;

fuzz_target!(|input: &[u8]| {
    let Some((&kind, input)) = input.split_first() else {
        return;
    };
    let mut demuxer = match kind & 3 {
        0 => Demuxer::with_container(Container::Ogg),
        1 => Demuxer::with_container(Container::Mpeg),
        _ => Demuxer::new(),
    };
    let mut chunker = Chunker::new(Config::default());
    let mut at = MediaTime::ZERO;
    let mut take = |demuxer: &mut Demuxer, chunker: &mut Chunker| {
        while let Some(event) = demuxer.poll() {
            if let Event::Packet(packet) = &event {
                assert!(packet.trim_start <= packet.duration);
                assert!(packet.trim_end <= packet.duration - packet.trim_start);
            }
            chunker.push_event(event);
            while let Some(output) = chunker.poll() {
                if let Output::Chunk(chunk) = output {
                    assert!(chunk.media_time >= at);
                    at = chunk.media_time;
                }
            }
        }
    };
    let pieces = input.chunks(usize::from(kind >> 2) + 1);
    let middle = pieces.len() / 2;
    for (index, piece) in pieces.enumerate() {
        if index == middle && kind & 64 != 0 {
            demuxer.note_gap();
        }
        demuxer.push(piece);
        take(&mut demuxer, &mut chunker);
    }
    demuxer.finish();
    take(&mut demuxer, &mut chunker);
    chunker.finish();
});
