//! Streaming conversion to a rate the codec knows, exact in length.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, FixedAsync, Resampler as _, SincInterpolationParameters, WindowFunction};

use super::Error;

/// Interleaved frames of one rate in, of another out: `round(n × ratio)`
/// frames for `n`, without the filter's delay.
pub struct Resampler {
    inner: Async<f32>,
    channels: usize,
    ratio: f64,
    /// Frames that wait for a whole block, interleaved.
    waiting: Vec<f32>,
    block: Vec<f32>,
    /// Output frames of delay still to drop.
    skip: usize,
    taken: u64,
    made: u64,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler")
            .field("ratio", &self.ratio)
            .field("taken", &self.taken)
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

impl Resampler {
    /// From `from` to `to` Hz.
    ///
    /// # Errors
    /// When the ratio is outside what the filter can do.
    pub fn new(from: u32, to: u32, channels: usize) -> Result<Self, Error> {
        let ratio = f64::from(to) / f64::from(from);
        let parameters = SincInterpolationParameters::new(128, WindowFunction::BlackmanHarris2);
        // 5 ms: short against a packet, long enough to be quick.
        let block = (from / 200).max(16) as usize;
        let inner = Async::new_sinc(ratio, 1.0, &parameters, block, channels, FixedAsync::Input)
            .map_err(|error| Error(format!("cannot resample {from} Hz to {to} Hz: {error}")))?;
        let skip = inner.output_delay();
        Ok(Self {
            inner,
            channels,
            ratio,
            waiting: Vec::new(),
            block: Vec::new(),
            skip,
            taken: 0,
            made: 0,
        })
    }

    /// Takes interleaved frames; appends what is ready to `out`.
    ///
    /// # Errors
    /// When the filter fails, which no input should cause.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), Error> {
        self.taken += (samples.len() / self.channels) as u64;
        self.waiting.extend_from_slice(samples);
        self.run(u64::MAX, out)
    }

    /// No more input: appends the rest.
    ///
    /// # Errors
    /// As [`Resampler::push`].
    pub fn finish(&mut self, out: &mut Vec<f32>) -> Result<(), Error> {
        let end = (self.taken as f64 * self.ratio).round() as u64;
        while self.made < end {
            let wanted = self.inner.input_frames_next() * self.channels;
            let silence = wanted.saturating_sub(self.waiting.len()).max(self.channels);
            self.waiting.extend(std::iter::repeat_n(0.0, silence));
            self.run(end, out)?;
        }
        Ok(())
    }

    fn run(&mut self, end: u64, out: &mut Vec<f32>) -> Result<(), Error> {
        let failed = |error: &dyn std::fmt::Display| Error(format!("resampler: {error}"));
        let mut used = 0;
        loop {
            let frames = self.inner.input_frames_next();
            let Some(input) = self
                .waiting
                .get(used * self.channels..(used + frames) * self.channels)
            else {
                break;
            };
            let room = self.inner.output_frames_max();
            self.block.resize(room * self.channels, 0.0);
            let input = InterleavedSlice::new(input, self.channels, frames)
                .map_err(|error| failed(&error))?;
            let mut output = InterleavedSlice::new_mut(&mut self.block, self.channels, room)
                .map_err(|error| failed(&error))?;
            let (read, written) = self
                .inner
                .process_into_buffer(&input, &mut output, None)
                .map_err(|error| failed(&error))?;
            used += read;
            let skipped = self.skip.min(written);
            self.skip -= skipped;
            let fresh = ((written - skipped) as u64).min(end - self.made.min(end)) as usize;
            let fresh_samples =
                &self.block[skipped * self.channels..(skipped + fresh) * self.channels];
            // The filter may overshoot by a little at full scale.
            out.extend(fresh_samples.iter().map(|sample| sample.clamp(-1.0, 1.0)));
            self.made += fresh as u64;
        }
        self.waiting.drain(..used * self.channels);
        Ok(())
    }
}
