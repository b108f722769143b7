//! `Range` requests (RFC 9110 §14) and open-ended live ranges (RFC 8673).

use std::ops::Range;

/// Ranges accepted in one request. Players ask for one, PDF-like readers for a
/// handful; thousands are an attack (RFC 9110 §17.15).
pub(crate) const MAX_RANGES: usize = 64;

/// What a `Range` header asks of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// No range, or one to be ignored: the whole representation.
    Whole,
    /// These byte ranges, non-empty, in the order asked for.
    Parts(Vec<Range<u64>>),
    /// From this byte on, for as long as the file grows (RFC 8673 §2): the
    /// asked last position, kept for the answer, lies beyond the end.
    Live {
        /// First byte wanted.
        start: u64,
        /// Last position the client named.
        last: u64,
    },
    /// 416: nothing of what was asked exists, or the header makes no sense.
    Unsatisfiable,
    /// 400: more than [`MAX_RANGES`] ranges.
    TooMany,
}

/// Last positions from here on mean "as far as it grows" (RFC 8673 §2.1
/// recommends 2^53 − 1, the largest integer every client can say).
pub(crate) const VERY_LARGE: u64 = (1 << 53) - 1;

/// Reads a `Range` header against a representation of `len` bytes.
///
/// Follows nginx where RFC 9110 leaves a choice: units other than `bytes` are
/// ignored, malformed ranges are unsatisfiable, and ranges that add up to more
/// than the representation get it whole.
pub(crate) fn select(header: Option<&str>, len: u64, growing: bool) -> Selection {
    let Some(list) = header.and_then(bytes_unit) else {
        return Selection::Whole;
    };
    let mut parts = Vec::new();
    let mut total = 0u64;
    for (count, spec) in list.split(',').enumerate() {
        if count == MAX_RANGES {
            return Selection::TooMany;
        }
        let spec = spec.trim_matches([' ', '\t']);
        if spec.is_empty() {
            // RFC 9110 §5.6.1.2: empty elements of a list are ignored.
            continue;
        }
        let Some(spec) = parse_spec(spec) else {
            return Selection::Unsatisfiable;
        };
        let range = match spec {
            Spec::From {
                first,
                last: Some(last),
            } if growing && last >= VERY_LARGE => {
                return Selection::Live { start: first, last };
            }
            Spec::From { first, last } => {
                first..last.map_or(len, |last| len.min(last.saturating_add(1)))
            }
            Spec::Suffix(count) => len.saturating_sub(count)..len,
        };
        if range.start < range.end {
            total = total.saturating_add(range.end - range.start);
            parts.push(range);
        }
    }
    match parts.len() {
        0 => Selection::Unsatisfiable,
        1 => Selection::Parts(parts),
        _ if total > len => Selection::Whole,
        _ => Selection::Parts(parts),
    }
}

/// The first byte of the only range asked for, when it has no last one.
pub(crate) fn open_ended(header: &str) -> Option<u64> {
    match parse_spec(bytes_unit(header)?.trim_matches([' ', '\t']))? {
        Spec::From { first, last: None } => Some(first),
        _ => None,
    }
}

fn bytes_unit(header: &str) -> Option<&str> {
    let (unit, list) = header.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(list)
}

enum Spec {
    From { first: u64, last: Option<u64> },
    Suffix(u64),
}

fn parse_spec(spec: &str) -> Option<Spec> {
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (number(first.trim_end())?, number(last.trim_start())?);
    match (first, last) {
        (None, None) => None,
        (None, Some(count)) => Some(Spec::Suffix(count)),
        (Some(first), Some(last)) if last < first => None,
        (Some(first), last) => Some(Spec::From { first, last }),
    }
}

/// Digits only; the empty string is `Some(None)`. Values beyond `u64` clamp,
/// since every file is shorter than that.
fn number(digits: &str) -> Option<Option<u64>> {
    if digits.is_empty() {
        return Some(None);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Some(digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // one range is what most headers ask for
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(header: &str, len: u64) -> Selection {
        select(Some(header), len, false)
    }

    #[test]
    fn rfc_9110_examples() {
        // §14.1.2, a representation of 10 000 bytes.
        assert_eq!(parts("bytes=0-499", 10_000), Selection::Parts(vec![0..500]));
        assert_eq!(
            parts("bytes=500-999", 10_000),
            Selection::Parts(vec![500..1000])
        );
        assert_eq!(
            parts("bytes=-500", 10_000),
            Selection::Parts(vec![9500..10_000])
        );
        assert_eq!(
            parts("bytes=9500-", 10_000),
            Selection::Parts(vec![9500..10_000])
        );
        assert_eq!(
            parts("bytes=0-0,-1", 10_000),
            Selection::Parts(vec![0..1, 9999..10_000])
        );
        // §5.6.1.2: empty elements of a list.
        assert_eq!(
            parts("bytes=,0-1, ,3-4,", 10_000),
            Selection::Parts(vec![0..2, 3..5])
        );
        assert_eq!(
            parts("bytes= 0-999, 4500-5499, -1000", 10_000),
            Selection::Parts(vec![0..1000, 4500..5500, 9000..10_000])
        );
    }

    #[test]
    fn beyond_the_end() {
        assert_eq!(parts("bytes=90-200", 100), Selection::Parts(vec![90..100]));
        assert_eq!(parts("bytes=-200", 100), Selection::Parts(vec![0..100]));
        assert_eq!(parts("bytes=100-", 100), Selection::Unsatisfiable);
        assert_eq!(parts("bytes=-0", 100), Selection::Unsatisfiable);
        assert_eq!(parts("bytes=0-0,100-", 100), Selection::Parts(vec![0..1]));
        assert_eq!(parts("bytes=0-", 0), Selection::Unsatisfiable);
    }

    #[test]
    fn hostile_headers() {
        for bad in [
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=0x1-2",
            "bytes=--1",
            "bytes=1-2-3",
            "bytes=+1-2",
        ] {
            assert_eq!(parts(bad, 100), Selection::Unsatisfiable, "{bad}");
        }
        assert_eq!(
            parts("bytes=99999999999999999999999-", 100),
            Selection::Unsatisfiable
        );
        assert_eq!(
            parts("bytes=0-99999999999999999999999", 100),
            Selection::Parts(vec![0..100])
        );
        assert_eq!(
            parts(&format!("bytes={}0-1", "0-1,".repeat(5000)), 100),
            Selection::TooMany
        );
        // Overlaps that multiply the traffic get the whole file once.
        assert_eq!(parts("bytes=0-,0-,0-", 100), Selection::Whole);
        assert_eq!(parts("items=0-1", 100), Selection::Whole);
        assert_eq!(select(None, 100, false), Selection::Whole);
    }

    #[test]
    fn rfc_8673_live_ranges() {
        let header = Some("bytes=50-9007199254740991");
        assert_eq!(
            select(header, 100, true),
            Selection::Live {
                start: 50,
                last: 9_007_199_254_740_991
            }
        );
        assert_eq!(select(header, 100, false), Selection::Parts(vec![50..100]));
        assert_eq!(
            select(Some("bytes=50-"), 100, true),
            Selection::Parts(vec![50..100])
        );
    }

    #[test]
    fn open_ended_ranges() {
        assert_eq!(open_ended("bytes=0-"), Some(0));
        assert_eq!(open_ended("bytes= 17- "), Some(17));
        for other in [
            "bytes=0-1",
            "bytes=-5",
            "bytes=0-,9-",
            "bytes=-",
            "lines=0-",
        ] {
            assert_eq!(open_ended(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_part_lies_inside(header in "bytes=[0-9,\\- ]{0,60}", len in 0u64..1000) {
            if let Selection::Parts(parts) = select(Some(&header), len, false) {
                prop_assert!(!parts.is_empty());
                for part in parts {
                    prop_assert!(part.start < part.end && part.end <= len);
                }
            }
        }
    }
}
