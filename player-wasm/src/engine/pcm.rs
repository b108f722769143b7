//! PCM made for the output and not yet heard.

/// Planar PCM, addressed by output frame.
#[derive(Clone, Debug)]
pub(super) struct Pcm {
    planes: Vec<Vec<f32>>,
    /// Output frame of the first sample kept.
    base: u64,
    /// Samples at the front of each plane that are no longer wanted.
    stale: usize,
    /// Frames still to be faded in, of [`FADE`].
    fading: usize,
}

/// Frames of a fade where the signal was cut, about 4 ms.
pub(super) const FADE: usize = 192;

impl Pcm {
    pub(super) fn new(channels: usize) -> Self {
        Self {
            planes: vec![Vec::new(); channels.max(1)],
            base: 0,
            stale: 0,
            fading: 0,
        }
    }

    pub(super) fn channels(&self) -> usize {
        self.planes.len()
    }

    pub(super) fn end(&self) -> u64 {
        let len = self.planes.first().map_or(0, Vec::len);
        self.base + (len - self.stale.min(len)) as u64
    }

    /// Lets `fill` append to the planes.
    pub(super) fn append(&mut self, fill: impl FnOnce(&mut [Vec<f32>])) {
        let before = self.planes.first().map_or(0, Vec::len);
        fill(&mut self.planes);
        if self.fading > 0 {
            let done = FADE - self.fading;
            let mut new = 0;
            for plane in &mut self.planes {
                let fresh = plane.get_mut(before..).unwrap_or(&mut []);
                new = fresh.len();
                for (i, x) in fresh.iter_mut().take(FADE - done).enumerate() {
                    *x *= (done + i) as f32 / FADE as f32;
                }
            }
            self.fading = self.fading.saturating_sub(new);
        }
    }

    /// The signal is cut here: fades out what is kept from `from` on (its last
    /// [`FADE`] frames at most) and fades in what will be appended.
    pub(super) fn cut(&mut self, from: u64) {
        let tail = self
            .end()
            .saturating_sub(from.max(self.base))
            .min(FADE as u64) as usize;
        for plane in &mut self.planes {
            let at = plane.len() - tail.min(plane.len());
            for (i, x) in plane[at..].iter_mut().enumerate() {
                *x *= 1.0 - (i + 1) as f32 / tail as f32;
            }
        }
        self.fading = FADE;
    }

    /// Crossfades from the signal at `from` into the signal at `to`, in place at `to`.
    pub(super) fn crossfade(&mut self, from: u64, to: u64) {
        let (Some(from), Some(to)) = (self.index(from), self.index(to)) else {
            return;
        };
        for plane in &mut self.planes {
            for i in 0..FADE {
                let (Some(&old), Some(&new)) = (plane.get(from + i), plane.get(to + i)) else {
                    break;
                };
                let t = i as f32 / FADE as f32;
                if let Some(x) = plane.get_mut(to + i) {
                    *x = old * (1.0 - t) + new * t;
                }
            }
        }
    }

    fn index(&self, output: u64) -> Option<usize> {
        let offset = output.checked_sub(self.base)?;
        usize::try_from(offset).ok()?.checked_add(self.stale)
    }

    /// Frames `output..output + frames` of a channel; shorter where there is less.
    pub(super) fn slice(&self, channel: usize, output: u64, frames: u64) -> &[f32] {
        let (Some(at), Some(plane)) = (self.index(output), self.planes.get(channel)) else {
            return &[];
        };
        let to = at.saturating_add(frames as usize).min(plane.len());
        plane.get(at..to).unwrap_or(&[])
    }

    /// Whether the signal at `output` is near silence for 10 ms at `rate`.
    pub(super) fn quiet(&self, output: u64, rate: u32) -> bool {
        let frames = u64::from(rate / 100);
        (0..self.channels()).all(|channel| {
            let slice = self.slice(channel, output, frames);
            let energy: f32 = slice.iter().map(|x| x * x).sum();
            energy <= 1e-5 * slice.len().max(1) as f32
        })
    }

    /// Forgets what lies before `output`.
    pub(super) fn drop_before(&mut self, output: u64) {
        let keep = output.clamp(self.base, self.end());
        self.stale += (keep - self.base) as usize;
        self.base = keep;
        let len = self.planes.first().map_or(0, Vec::len);
        // Moving the rest down pays only now and then.
        if self.stale > 8192 && self.stale * 2 > len {
            for plane in &mut self.planes {
                plane.drain(..self.stale.min(plane.len()));
            }
            self.stale = 0;
        }
    }

    /// Forgets everything; what is appended next is output frame [`Pcm::end`].
    pub(super) fn clear(&mut self) {
        self.base = self.end();
        self.stale = 0;
        self.fading = 0;
        for plane in &mut self.planes {
            plane.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_addresses_while_forgetting() {
        let mut pcm = Pcm::new(1);
        for block in 0..100u64 {
            pcm.append(|planes| planes[0].extend((0..500).map(|i| (block * 500 + i) as f32)));
            pcm.drop_before((block * 500).saturating_sub(700));
        }
        assert_eq!(pcm.end(), 50_000);
        assert_eq!(pcm.slice(0, 49_998, 10), [49_998.0, 49_999.0]);
        assert_eq!(pcm.slice(0, 10, 1), [0.0; 0]);
        assert!(pcm.planes[0].len() < 20_000);
        pcm.clear();
        assert_eq!((pcm.base, pcm.end()), (50_000, 50_000));
    }
}
