//! Seeded randomness and random cuttings of a byte stream.

/// SplitMix64: the same seed gives the same sequence on every machine.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// A generator for `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            0
        } else {
            (self.bits() % bound as u64) as usize
        }
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Cuts bytes into pieces of random length from 1 to `largest`.
///
/// Lengths are drawn evenly on a logarithmic scale, so that single bytes and
/// large blocks both occur often.
#[derive(Debug)]
pub struct Pieces<'a> {
    rest: &'a [u8],
    random: Seeded,
    largest: usize,
}

impl<'a> Pieces<'a> {
    /// Cuts `bytes` as `seed` says.
    #[must_use]
    pub fn new(bytes: &'a [u8], seed: u64, largest: usize) -> Self {
        Self {
            rest: bytes,
            random: Seeded::new(seed),
            largest: largest.max(1),
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let length = (self.largest as f64).powf(self.random.unit()).round() as usize;
        let (piece, rest) = self.rest.split_at(length.clamp(1, self.rest.len()));
        self.rest = rest;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_whole_and_repeat_by_seed() {
        let bytes: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        let once: Vec<&[u8]> = Pieces::new(&bytes, 7, 4096).collect();
        let again: Vec<&[u8]> = Pieces::new(&bytes, 7, 4096).collect();
        assert_eq!(once, again);
        assert_eq!(once.concat(), bytes);
        assert!(once.iter().any(|p| p.len() == 1) && once.iter().any(|p| p.len() > 500));
    }
}
