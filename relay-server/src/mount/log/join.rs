//! Where a listener begins.

use seamcast_media::units::{MediaDuration, MediaTime};

use super::Reach;

/// A join point, as in `?from=` and in `seek` messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum JoinFrom {
    /// Near the live edge, with a burst.
    #[default]
    Live,
    /// The oldest chunk held.
    Start,
    /// This long before the live edge.
    Back(MediaDuration),
    /// This position of the programme.
    At(MediaTime),
    /// Exactly this chunk.
    Chunk {
        /// Which log `seq` belongs to.
        epoch: String,
        /// First chunk wanted: one after the last one received.
        seq: u64,
    },
}

impl std::str::FromStr for JoinFrom {
    type Err = String;

    /// Reads `live`, `start`, `-30` (seconds back), `25.0` (seconds from the
    /// start) or `EPOCH:SEQ`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "live" => return Ok(Self::Live),
            "start" => return Ok(Self::Start),
            _ => {}
        }
        let wrong = || {
            let shown: String = text.chars().take(64).collect();
            format!("from={shown:?} is no join point; use live, start, -30, 25.0 or EPOCH:SEQ")
        };
        if let Some((epoch, seq)) = text.rsplit_once(':') {
            let seq = seq.parse().map_err(|_| wrong())?;
            if epoch.is_empty() || epoch.len() > 64 {
                return Err(wrong());
            }
            return Ok(Self::Chunk {
                epoch: epoch.to_owned(),
                seq,
            });
        }
        let secs: f64 = text.parse().map_err(|_| wrong())?;
        if !secs.is_finite() || secs.abs() > 1e9 {
            return Err(wrong());
        }
        let length = MediaDuration::from_secs_f64(secs.abs());
        Ok(if text.starts_with('-') {
            Self::Back(length)
        } else {
            Self::At(MediaTime::ZERO + length)
        })
    }
}

/// Chunks that a listener will not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First sequence number missed.
    pub from: u64,
    /// First sequence number after the gap.
    pub to: u64,
    /// Why: `lag`, `expired`, `missing`, `epoch` or `seek`.
    pub reason: &'static str,
}

/// A join point found in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// Entry to begin with.
    pub index: u64,
    /// First chunk the listener gets.
    pub seq: u64,
    /// That chunk's programme position.
    pub at: MediaTime,
    /// Whether an `EPOCH:SEQ` join continues exactly where it asked to.
    pub recovered: bool,
    /// What such a join misses.
    pub gap: Option<Gap>,
}

impl Join {
    /// One that begins there and misses nothing.
    pub const fn new(place: Reach, recovered: bool) -> Self {
        let Reach { index, seq, at } = place;
        Self {
            index,
            seq,
            at,
            recovered,
            gap: None,
        }
    }

    /// An exact join for chunk `seq`; when it is another one, numbers in
    /// between were lost with an earlier process or a full disk.
    #[must_use]
    pub fn or_missing(self, seq: u64) -> Self {
        if self.seq == seq {
            return self;
        }
        Self {
            recovered: false,
            gap: Some(Gap {
                from: seq,
                to: self.seq,
                reason: "missing",
            }),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let read = |text: &str| text.parse::<JoinFrom>();
        assert_eq!(read("live"), Ok(JoinFrom::Live));
        assert_eq!(read(""), Ok(JoinFrom::Live));
        assert_eq!(read("start"), Ok(JoinFrom::Start));
        assert_eq!(
            read("-30"),
            Ok(JoinFrom::Back(MediaDuration::from_millis(30_000)))
        );
        assert_eq!(
            read("25.5"),
            Ok(JoinFrom::At(
                MediaTime::ZERO + MediaDuration::from_millis(25_500)
            ))
        );
        assert_eq!(
            read("ab12:7"),
            Ok(JoinFrom::Chunk {
                epoch: "ab12".into(),
                seq: 7
            })
        );
        for bad in ["NaN", "inf", "-inf", "x", ":", ":1", "a:", "a:-1", "1e300"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
