//! Tables of CELT that libopus leaves to us (`libc-shims/celt_tables.h`): as
//! numbers they took 12 KB of the module, hardly compressible.

// Shared with C, which knows it by name and address.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ptr::null;

use crate::resample::sin_pi;

/// The FFT lengths of the four frame sizes and the radices of each.
const TRANSFORMS: [(u16, &[u16]); 4] = [
    (480, &[5, 3, 4, 2, 4]),
    (240, &[5, 3, 4, 4]),
    (120, &[5, 3, 2, 4]),
    (60, &[5, 3, 4]),
];

/// `struct kiss_fft_state`.
#[repr(C)]
struct FftState {
    length: i32,
    scale: f32,
    /// Twiddles are taken every 2^shift; −1 as libopus has it for the longest.
    shift: i32,
    /// Radix and what is left of the length after it, in turn.
    factors: [u16; 16],
    bitrev: *const u16,
    twiddles: *const f32,
    arch: *const u8,
}

/// `struct seamcast_celt_tables`.
#[repr(C)]
struct Tables {
    state: [FftState; 4],
    /// cos 2π(i + 1/8)/N for the first half of N = 1920, 960, 480 and 240.
    mdct: [f32; 1800],
    /// exp(−2πi·n/480), real and imaginary.
    fft: [f32; 960],
    /// The overlap's power-complementary (Vorbis) window.
    window: [f32; 120],
    /// The digit reversals of the four transforms.
    bitrev: [u16; 900],
}

#[repr(transparent)]
struct Shared(UnsafeCell<Tables>);

// SAFETY: written once, in `fill`, before anything reads; the module has one thread.
unsafe impl Sync for Shared {}

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static seamcast_celt_tables: Shared = Shared(UnsafeCell::new(Tables {
    state: [const {
        FftState {
            length: 0,
            scale: 0.0,
            shift: 0,
            factors: [0; 16],
            bitrev: null(),
            twiddles: null(),
            arch: null(),
        }
    }; 4],
    mdct: [0.0; 1800],
    fft: [0.0; 960],
    window: [0.0; 120],
    bitrev: [0; 900],
}));

/// To be called once, when the module starts.
pub(super) fn fill() {
    // SAFETY: nothing else runs yet, and C only ever reads.
    let tables = unsafe { &mut *seamcast_celt_tables.0.get() };
    let mut mdct = tables.mdct.iter_mut();
    for n in [1920u16, 960, 480, 240] {
        for (i, out) in mdct.by_ref().take(usize::from(n / 2)).enumerate() {
            *out = cos_turn((i as f64 + 0.125) / f64::from(n)) as f32;
        }
    }
    for (i, out) in tables.fft.chunks_exact_mut(2).enumerate() {
        let turn = i as f64 / 480.0;
        out[0] = cos_turn(turn) as f32;
        out[1] = -sin_pi(2.0 * turn) as f32;
    }
    for (i, out) in tables.window.iter_mut().enumerate() {
        let sine = sin_pi((i as f64 + 0.5) / 240.0);
        *out = sin_pi(0.5 * sine * sine) as f32;
    }
    let mut bitrev = tables.bitrev.as_mut_slice();
    for (i, (state, (length, radices))) in tables.state.iter_mut().zip(TRANSFORMS).enumerate() {
        state.length = i32::from(length);
        state.scale = (1.0 / f64::from(length)) as f32;
        state.shift = if i == 0 { -1 } else { i as i32 };
        let mut left = length;
        for (pair, radix) in state.factors.chunks_exact_mut(2).zip(radices) {
            left /= radix;
            pair.copy_from_slice(&[*radix, left]);
        }
        let (own, rest) = bitrev.split_at_mut(usize::from(length));
        digit_reversal(own, &state.factors);
        state.bitrev = own.as_ptr();
        state.twiddles = tables.fft.as_ptr();
        bitrev = rest;
    }
}

/// cos 2πt
fn cos_turn(t: f64) -> f64 {
    sin_pi(2.0 * t + 0.5)
}

/// Where each input of the decimated transform goes.
fn digit_reversal(out: &mut [u16], factors: &[u16]) {
    for (n, out) in out.iter_mut().enumerate() {
        let mut rest = n as u16;
        for pair in factors.chunks_exact(2) {
            if pair[0] > 0 {
                *out += rest % pair[0] * pair[1];
                rest /= pair[0];
            }
        }
    }
}

/// libopus's only cosine: exp_rotation's, of angles up to π/2.
#[unsafe(no_mangle)]
extern "C" fn seamcast_cos(x: f64) -> f64 {
    sin_pi(x * std::f64::consts::FRAC_1_PI + 0.5)
}
