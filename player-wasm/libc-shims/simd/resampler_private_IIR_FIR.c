/* The interpolation of SILK's resampler: its eight taps are one dot product. */
#include "SigProc_FIX.h"
#include "resampler_private.h"
#include <wasm_simd128.h>

static inline opus_int16 *seamcast_interpolate(opus_int16 *out, opus_int16 *buf, opus_int32 end,
                                               opus_int32 step) {
  opus_int32 at;
  v128_t taps[12];
  for (at = 0; at < 12; at++) {
    v128_t taps_back = wasm_v128_load64_zero(silk_resampler_frac_FIR_12[11 - at]);
    v128_t front = wasm_v128_load64_zero(silk_resampler_frac_FIR_12[at]);
    taps[at] = wasm_i16x8_shuffle(front, taps_back, 0, 1, 2, 3, 11, 10, 9, 8);
  }
  for (at = 0; at < end; at += step) {
    v128_t sum = wasm_i32x4_dot_i16x8(wasm_v128_load(&buf[at >> 16]), taps[((at & 0xFFFF) * 12) >> 16]);
    sum = wasm_i32x4_add(sum, wasm_i32x4_shuffle(sum, sum, 2, 3, 0, 1));
    sum = wasm_i32x4_add(sum, wasm_i32x4_shuffle(sum, sum, 1, 0, 3, 2));
    *out++ = (opus_int16)silk_SAT16(silk_RSHIFT_ROUND(wasm_i32x4_extract_lane(sum, 0), 15));
  }
  return out;
}

/* The definition and the call of one name become two names by their first argument. */
#define silk_resampler_private_IIR_FIR_INTERPOL(first, ...) INTERPOL_##first, __VA_ARGS__)
#define INTERPOL_opus_int16 interpolate_plain(opus_int16
#define INTERPOL_out seamcast_interpolate(out
