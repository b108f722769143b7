//! Channel layouts: from a stream's channels to the context's.
//!
//! Mono, stereo, quad and 5.1 follow Web Audio's "speakers" rules; 3, 5, 6.1
//! and 7.1 channels (RFC 7845 §5.1.1.2) are folded in the same spirit; any
//! other layout is discrete: channel by channel, the rest dropped or silent.

use std::f32::consts::FRAC_1_SQRT_2;

/// One contribution: input channel × gain → output channel.
type Route = (usize, usize, f32);

/// A fixed mixing matrix with its scratch space.
#[derive(Clone, Debug)]
pub struct Mixer {
    routes: Vec<Route>,
    outputs: Vec<Vec<f32>>,
    identity: bool,
}

impl Mixer {
    /// From `input` to `output` channels.
    pub fn new(input: usize, output: usize) -> Self {
        let routes = routes(input, output);
        Self {
            identity: input == output,
            routes,
            outputs: vec![Vec::new(); output],
        }
    }

    /// Whether input and output are the same.
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// Mixes `frames` frames; `channel` gives an input channel.
    pub fn mix<'a>(&mut self, frames: usize, channel: impl Fn(usize) -> &'a [f32]) -> &[Vec<f32>] {
        for plane in &mut self.outputs {
            plane.clear();
            plane.resize(frames, 0.0);
        }
        for &(from, to, gain) in &self.routes {
            let Some(out) = self.outputs.get_mut(to) else {
                continue;
            };
            for (out, x) in out.iter_mut().zip(channel(from)) {
                *out += gain * x;
            }
        }
        &self.outputs
    }
}

/// Positions of a layout's speakers: front left, front right, centre, LFE,
/// left and right surround (up to two pairs), back centre.
#[derive(Default)]
struct Speakers {
    left: Option<usize>,
    right: Option<usize>,
    centre: Option<usize>,
    lefts: Vec<usize>,
    rights: Vec<usize>,
    back: Option<usize>,
}

fn speakers(channels: usize) -> Option<Speakers> {
    let front = Speakers {
        left: Some(0),
        right: Some(1),
        ..Speakers::default()
    };
    Some(match channels {
        1 => Speakers {
            centre: Some(0),
            ..Speakers::default()
        },
        2 => front,
        3 => Speakers {
            centre: Some(2),
            ..front
        },
        4 => Speakers {
            lefts: vec![2],
            rights: vec![3],
            ..front
        },
        5 => Speakers {
            centre: Some(2),
            lefts: vec![3],
            rights: vec![4],
            ..front
        },
        6 => Speakers {
            centre: Some(2),
            lefts: vec![4],
            rights: vec![5],
            ..front
        },
        7 => Speakers {
            centre: Some(2),
            back: Some(4),
            lefts: vec![5],
            rights: vec![6],
            ..front
        },
        8 => Speakers {
            centre: Some(2),
            lefts: vec![4, 6],
            rights: vec![5, 7],
            ..front
        },
        _ => return None,
    })
}

fn routes(input: usize, output: usize) -> Vec<Route> {
    let direct = || (0..input.min(output)).map(|i| (i, i, 1.0)).collect();
    if input == output {
        return direct();
    }
    let Some(from) = speakers(input) else {
        return direct();
    };
    match (input, output) {
        (1, 2 | 4) => vec![(0, 0, 1.0), (0, 1, 1.0)],
        (1, 6 | 8) => vec![(0, 2, 1.0)],
        (2 | 4, 1) => {
            let gain = 1.0 / input as f32;
            (0..input).map(|i| (i, 0, gain)).collect()
        }
        (4, 2) => vec![(0, 0, 0.5), (2, 0, 0.5), (1, 1, 0.5), (3, 1, 0.5)],
        (4, 6) => vec![(0, 0, 1.0), (1, 1, 1.0), (2, 4, 1.0), (3, 5, 1.0)],
        (_, 1) => {
            let mut routes = Vec::new();
            routes.extend(from.left.map(|i| (i, 0, FRAC_1_SQRT_2)));
            routes.extend(from.right.map(|i| (i, 0, FRAC_1_SQRT_2)));
            routes.extend(from.centre.map(|i| (i, 0, 1.0)));
            routes.extend(from.back.map(|i| (i, 0, 0.5)));
            let sides = from.lefts.iter().chain(&from.rights);
            routes.extend(sides.map(|&i| (i, 0, 0.5)));
            routes
        }
        (_, 2) => {
            let mut routes = vec![(0, 0, 1.0), (1, 1, 1.0)];
            for i in from.centre.into_iter().chain(from.back) {
                routes.push((i, 0, FRAC_1_SQRT_2));
                routes.push((i, 1, FRAC_1_SQRT_2));
            }
            routes.extend(from.lefts.iter().map(|&i| (i, 0, FRAC_1_SQRT_2)));
            routes.extend(from.rights.iter().map(|&i| (i, 1, FRAC_1_SQRT_2)));
            routes
        }
        (_, 4) => {
            let mut routes = vec![(0, 0, 1.0), (1, 1, 1.0)];
            routes.extend(
                from.centre
                    .iter()
                    .flat_map(|&i| [(i, 0, FRAC_1_SQRT_2), (i, 1, FRAC_1_SQRT_2)]),
            );
            routes.extend(
                from.back
                    .iter()
                    .flat_map(|&i| [(i, 2, FRAC_1_SQRT_2), (i, 3, FRAC_1_SQRT_2)]),
            );
            routes.extend(from.lefts.iter().map(|&i| (i, 2, 1.0)));
            routes.extend(from.rights.iter().map(|&i| (i, 3, 1.0)));
            routes
        }
        (3 | 5 | 7 | 8, 6) => {
            let mut routes = vec![(0, 0, 1.0), (1, 1, 1.0)];
            routes.extend(from.centre.map(|i| (i, 2, 1.0)));
            if input >= 7 {
                routes.push((3, 3, 1.0));
            }
            routes.extend(
                from.back
                    .iter()
                    .flat_map(|&i| [(i, 4, FRAC_1_SQRT_2), (i, 5, FRAC_1_SQRT_2)]),
            );
            routes.extend(from.lefts.iter().map(|&i| (i, 4, 1.0)));
            routes.extend(from.rights.iter().map(|&i| (i, 5, 1.0)));
            routes
        }
        _ => direct(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(input: &[f32], outputs: usize) -> Vec<f32> {
        let planes: Vec<Vec<f32>> = input.iter().map(|&x| vec![x]).collect();
        let mut mixer = Mixer::new(input.len(), outputs);
        let out = mixer.mix(1, |i| planes[i].as_slice());
        out.iter().map(|plane| plane[0]).collect()
    }

    #[test]
    fn follows_the_speaker_rules_of_web_audio() {
        let h = FRAC_1_SQRT_2;
        assert_eq!(mix(&[1.0], 2), [1.0, 1.0]);
        assert_eq!(mix(&[1.0], 6), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(mix(&[0.2, 0.6], 1), [0.4]);
        assert_eq!(mix(&[0.2, 0.6], 6), [0.2, 0.6, 0.0, 0.0, 0.0, 0.0]);
        // 5.1: left + √½ (centre + left surround); LFE is left out.
        assert_eq!(
            mix(&[1.0, 0.0, 0.5, 9.0, 0.25, 0.0], 2),
            [1.0 + h * 0.5 + h * 0.25, h * 0.5]
        );
        assert_eq!(mix(&[1.0, 1.0, 1.0, 9.0, 1.0, 1.0], 1), [2.0 * h + 2.0]);
        assert_eq!(mix(&[0.1, 0.2, 0.3, 0.4], 2), [0.2, 0.3]);
    }

    #[test]
    fn unknown_layouts_are_discrete() {
        assert_eq!(mix(&[1.0; 16], 2), [1.0, 1.0]);
        assert_eq!(mix(&[1.0, 2.0], 3), [1.0, 2.0, 0.0]);
    }
}
