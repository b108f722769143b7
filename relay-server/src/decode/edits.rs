//! How many frames of an MP4's audio belong to its encoder and not to the
//! programme: the edit list (ISO/IEC 14496-12 §8.6.6), which `symphonia` does
//! not apply.

/// Boxes within boxes that lead to what is needed.
const DEPTH: usize = 4;

/// Which frames to keep, at the track's own time scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edit {
    /// Frames before the first.
    pub(super) skip: u64,
    /// Frames to keep then, as far as it is known.
    pub(super) keep: Option<u64>,
}

#[derive(Default)]
struct Track {
    sound: bool,
    /// Time scale and length of the media.
    media: Option<(u32, u64)>,
    edit: Option<(u64, u64)>,
}

/// Reads the contents of a `moov` box: the first sound track's edit.
pub(super) fn of_moov(moov: &[u8]) -> Edit {
    let mut movie_scale = 0;
    for (kind, body) in boxes(moov) {
        match kind {
            b"mvhd" => movie_scale = scale(body).map_or(0, |(scale, _)| scale),
            b"trak" => {
                let mut track = Track::default();
                inside(body, &mut track, DEPTH);
                if track.sound {
                    return track.edit(movie_scale);
                }
            }
            _ => {}
        }
    }
    Edit::default()
}

impl Track {
    fn edit(&self, movie_scale: u32) -> Edit {
        let (Some((rate, length)), Some((duration, skip))) = (self.media, self.edit) else {
            return Edit::default();
        };
        let after = length.saturating_sub(skip);
        // The movie's scale is often ms: then the media's own length is nearer.
        let exact = (movie_scale == rate && duration > 0).then(|| duration.min(after));
        let rough = u128::from(duration) * u128::from(rate);
        let rough = rough.checked_div(u128::from(movie_scale)).unwrap_or(0) as u64;
        let tick = u64::from(rate.checked_div(movie_scale).unwrap_or(0)) + 1;
        let shorter = (rough > 0 && rough.saturating_add(tick) < after).then_some(rough);
        Edit {
            skip,
            keep: exact.or(shorter).or((length > 0).then_some(after)),
        }
    }
}

fn inside(body: &[u8], track: &mut Track, depth: usize) {
    for (kind, body) in boxes(body) {
        match kind {
            b"mdia" | b"edts" if depth > 0 => inside(body, track, depth - 1),
            b"mdhd" => track.media = scale(body),
            b"hdlr" => track.sound = body.get(8..12) == Some(b"soun"),
            b"elst" => track.edit = elst(body),
            _ => {}
        }
    }
}

/// Boxes one after the other; stops at the first that is not whole.
fn boxes(mut rest: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let len = be32(rest, 0)?;
        let kind: &[u8; 4] = rest.get(4..8)?.try_into().ok()?;
        let (header, len) = match len {
            0 => (8, rest.len()),
            1 => (16, usize::try_from(be64(rest, 8)?).ok()?),
            len => (8, len as usize),
        };
        let body = rest.get(header..len)?;
        rest = &rest[len..];
        Some((kind, body))
    })
}

/// Time scale and duration of `mvhd` or `mdhd`.
fn scale(body: &[u8]) -> Option<(u32, u64)> {
    match body.first()? {
        0 => Some((be32(body, 12)?, u64::from(be32(body, 16)?))),
        _ => Some((be32(body, 20)?, be64(body, 24)?)),
    }
}

/// Duration and media time of the first edit that is not empty.
fn elst(body: &[u8]) -> Option<(u64, u64)> {
    let long = *body.first()? != 0;
    let size = if long { 20 } else { 12 };
    body.get(8..)?.chunks_exact(size).find_map(|entry| {
        let (duration, time) = if long {
            (be64(entry, 0)?, be64(entry, 8)?)
        } else {
            // -1 is an empty edit.
            let time = be32(entry, 4)?;
            let time = if time == u32::MAX {
                u64::MAX
            } else {
                u64::from(time)
            };
            (u64::from(be32(entry, 0)?), time)
        };
        (time != u64::MAX).then_some((duration, time))
    })
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_be_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut out = (body.len() as u32 + 8).to_be_bytes().to_vec();
        out.extend_from_slice(kind);
        out.extend_from_slice(body);
        out
    }

    fn fields(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn moov(movie_scale: u32, duration: u32, length: u32) -> Vec<u8> {
        let mdia = [
            boxed(b"mdhd", &fields(&[0, 0, 0, 44_100, length, 0])),
            boxed(b"hdlr", &[&fields(&[0, 0]), &b"soun"[..]].concat()),
        ];
        let elst = fields(&[0, 2, 5, u32::MAX, 0x1_0000, duration, 1024, 0x1_0000]);
        let trak = [
            boxed(b"edts", &boxed(b"elst", &elst)),
            boxed(b"mdia", &mdia.concat()),
        ];
        [
            boxed(b"mvhd", &fields(&[0, 0, 0, movie_scale, 0])),
            boxed(b"trak", &trak.concat()),
        ]
        .concat()
    }

    #[test]
    fn the_encoders_frames_are_known() {
        let edit = |scale, duration, length| {
            let edit = of_moov(&moov(scale, duration, length));
            (edit.skip, edit.keep)
        };
        // ffmpeg: movie scale of 1 ms, exact length of the media.
        assert_eq!(edit(1000, 2000, 1024 + 88_200), (1024, Some(88_200)));
        // Others: whole packets, and the edit cuts the last one.
        assert_eq!(edit(44_100, 88_200, 91_136), (1024, Some(88_200)));
        assert_eq!(edit(1000, 1000, 1024 + 88_200), (1024, Some(44_100)));
        let longest = Track {
            media: Some((44_100, u64::MAX)),
            edit: Some((u64::MAX, 0)),
            ..Track::default()
        };
        assert_eq!(longest.edit(44_100).keep, Some(u64::MAX));
        // Cut anywhere, it is read as far as it goes.
        let whole = moov(1000, 2000, 3000);
        for len in 0..whole.len() {
            of_moov(&whole[..len]);
        }
    }
}
