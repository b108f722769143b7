//! Room: a stereo delay and a reverb.

/// A ping-pong delay: what comes in left comes back right, darker each time.
#[derive(Clone, Debug)]
pub(super) struct Delay {
    left: Vec<f32>,
    right: Vec<f32>,
    at: usize,
    dark: (f32, f32),
}

impl Delay {
    pub(super) fn new(frames: usize) -> Self {
        Self {
            left: vec![0.0; frames.max(1)],
            right: vec![0.0; frames.max(1)],
            at: 0,
            dark: (0.0, 0.0),
        }
    }

    pub(super) fn next(&mut self, input: (f32, f32)) -> (f32, f32) {
        const FEEDBACK: f32 = 0.42;
        let out = (self.left[self.at], self.right[self.at]);
        self.dark.0 += 0.35 * (out.0 - self.dark.0);
        self.dark.1 += 0.35 * (out.1 - self.dark.1);
        self.left[self.at] = input.0 + FEEDBACK * self.dark.1;
        self.right[self.at] = input.1 + FEEDBACK * self.dark.0;
        self.at = (self.at + 1) % self.left.len();
        out
    }
}

/// A reverb: four delay lines that feed each other through an orthogonal
/// (Hadamard) matrix, so that energy only falls.
#[derive(Clone, Debug)]
pub(super) struct Reverb {
    lines: [Vec<f32>; 4],
    at: [usize; 4],
    dark: [f32; 4],
}

impl Reverb {
    pub(super) fn new(rate: f32) -> Self {
        // Lengths without a common divisor, so that echoes do not pile up.
        let frames = [0.0297, 0.0371, 0.0437, 0.0531].map(|secs| (secs * rate) as usize | 1);
        Self {
            lines: frames.map(|frames| vec![0.0; frames]),
            at: [0; 4],
            dark: [0.0; 4],
        }
    }

    pub(super) fn next(&mut self, input: (f32, f32)) -> (f32, f32) {
        const DECAY: f32 = 0.86;
        let mut out = [0.0; 4];
        for (n, out) in out.iter_mut().enumerate() {
            *out = self.lines[n][self.at[n]];
            self.dark[n] += 0.45 * (*out - self.dark[n]);
        }
        let [a, b, c, d] = self.dark.map(|x| x * 0.5 * DECAY);
        let mixed = [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d];
        let feed = [input.0, input.1, input.0, input.1];
        for (n, (feed, mixed)) in feed.into_iter().zip(mixed).enumerate() {
            self.lines[n][self.at[n]] = feed + mixed;
            self.at[n] = (self.at[n] + 1) % self.lines[n].len();
        }
        (out[0] + out[2] * 0.7, out[1] + out[3] * 0.7)
    }
}
