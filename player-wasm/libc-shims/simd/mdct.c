/* clt_mdct_backward_c on four bins at a time. */
#include "kiss_fft.h"
#include "mdct.h"
#include "vector.h"

void clt_mdct_backward_c(const mdct_lookup *l, kiss_fft_scalar *in, kiss_fft_scalar *OPUS_RESTRICT out,
                         const celt_coef *OPUS_RESTRICT window, int overlap, int shift, int stride,
                         int arch) {
  const float *cos_, *sin_;
  const kiss_fft_state *fft = l->kfft[shift];
  float *y = out + (overlap >> 1);
  int i, n = l->n, n2, n4;
  (void)arch;
  cos_ = l->trig;
  for (i = 0; i < shift; i++) {
    n >>= 1;
    cos_ += n;
  }
  n2 = n >> 1;
  n4 = n >> 2;
  sin_ = cos_ + n4;

  /* Rotated into the order that the transform takes. */
  for (i = 0; i < n4; i += 4) {
    const float *a = in + 2 * i * stride, *b = in + (n2 - 1 - 2 * i) * stride;
    const opus_int16 *to = fft->bitrev + i;
    const v4 c = load(cos_ + i), s = load(sin_ + i);
    v4 x1, x2, re, im;
    v128_t lo, hi;
    if (stride == 1) {
      x1 = load_c4(a).r;
      x2 = load_c4(b - 7).i;
      x2 = REVERSE(x2);
    } else {
      x1 = (v4){a[0], a[2 * stride], a[4 * stride], a[6 * stride]};
      x2 = (v4){b[0], b[-2 * stride], b[-4 * stride], b[-6 * stride]};
    }
    re = x2 * c + x1 * s;
    im = x1 * c - x2 * s;
    lo = (v128_t)SHUFFLE(im, re, 0, 4, 1, 5);
    hi = (v128_t)SHUFFLE(im, re, 2, 6, 3, 7);
    wasm_v128_store64_lane(y + 2 * to[0], lo, 0);
    wasm_v128_store64_lane(y + 2 * to[1], lo, 1);
    wasm_v128_store64_lane(y + 2 * to[2], hi, 0);
    wasm_v128_store64_lane(y + 2 * to[3], hi, 1);
  }

  opus_fft_impl(fft, (kiss_fft_cpx *)y);

  /* From both ends at once, in place; when they meet in the middle, both are the same four. */
  for (i = 0; 2 * i < n4; i += 4) {
    const int j = n4 - 4 - i;
    c4 f = load_c4(y + 2 * i), b = load_c4(y + 2 * j);
    const v4 fc = load(cos_ + i), fs = load(sin_ + i), bc = load(cos_ + j), bs = load(sin_ + j);
    const v4 front = f.i * fs - f.r * fc, back = b.i * bs - b.r * bc;
    store_c4(y + 2 * i, f.i * fc + f.r * fs, REVERSE(back));
    store_c4(y + 2 * j, b.i * bc + b.r * bs, REVERSE(front));
  }

  /* Mirrored on both sides: the aliases of neighbours cancel. */
  for (i = 0; 2 * i < overlap; i += 4) {
    float *p = out + i, *q = out + overlap - 4 - i;
    v4 x1 = load(q), x2 = load(p), w1 = load(window + i), w2 = load(window + overlap - 4 - i);
    x1 = REVERSE(x1);
    w2 = REVERSE(w2);
    store(p, x2 * w2 - x1 * w1);
    x1 = x2 * w1 + x1 * w2;
    store(q, REVERSE(x1));
  }
}
/* What follows is libopus's own, which nobody calls. */
#define clt_mdct_backward_c clt_mdct_backward_plain
