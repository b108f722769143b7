/* deemphasis, which is y[n] = x[n] + a y[n - 1], four frames at a time: what each
   of the four adds to the later ones first, then what came before them. */
#include "arch.h"
#include "vector.h"

static inline v4 deemphasis_step(v4 x, const float *a, v4 *before) {
  const v4 none = {0}, tiny = {VERY_SMALL, VERY_SMALL, VERY_SMALL, VERY_SMALL};
  x += tiny;
  x += a[0] * SHUFFLE(none, x, 0, 4, 5, 6);
  x += a[1] * SHUFFLE(none, x, 0, 1, 4, 5);
  x += *before;
  *before = SHUFFLE(x, x, 3, 3, 3, 3) * load(a);
  return x;
}

static void deemphasis_plain(celt_sig *in[], opus_res *pcm, int N, int C, int downsample,
                             const opus_val16 *coef, celt_sig *mem, int accum);

static void deemphasis_simd(celt_sig *in[], opus_res *pcm, int n, int channels, int downsample,
                            const opus_val16 *coef, celt_sig *mem, int accum) {
  const float scale = 1 / CELT_SIG_SCALE, c = coef[0];
  const float powers[5] = {1, c, c * c, c * c * c, c * c * c * c};
  v4 left, right;
  int i;
  if (downsample != 1 || n % 4 != 0) {
    deemphasis_plain(in, pcm, n, channels, downsample, coef, mem, accum);
    return;
  }
  left = mem[0] * load(powers);
  right = mem[channels - 1] * load(powers);
  for (i = 0; i < n; i += 4, pcm += 4 * channels) {
    v4 a = scale * deemphasis_step(load(in[0] + i), powers + 1, &left);
    if (channels == 1) {
      store(pcm, accum ? load(pcm) + a : a);
    } else {
      v4 b = scale * deemphasis_step(load(in[1] + i), powers + 1, &right);
      if (accum) {
        c4 sum = load_c4(pcm);
        a += sum.r;
        b += sum.i;
      }
      store_c4(pcm, a, b);
    }
  }
  mem[channels - 1] = right[0];
  mem[0] = left[0];
}

/* The definition and the calls of one name become two names by their first argument. */
#define deemphasis(first, ...) DEEMPHASIS_##first, __VA_ARGS__)
#define DEEMPHASIS_celt_sig deemphasis_plain(celt_sig
#define DEEMPHASIS_out_syn deemphasis_simd(out_syn
