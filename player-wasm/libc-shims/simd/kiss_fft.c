/* opus_fft_impl on four butterflies at a time: every m but the first stage's is
   a multiple of four. The order of operations is libopus's. */
#include "kiss_fft.h"
#include "vector.h"

/* t[0], t[step], t[2 * step], t[3 * step] */
static inline c4 twiddles(const kiss_twiddle_cpx *t, int step) {
  v128_t a = wasm_v128_load64_zero(t), b = wasm_v128_load64_zero(t + 2 * step);
  v4 lo = (v4)wasm_v128_load64_lane(t + step, a, 1);
  v4 hi = (v4)wasm_v128_load64_lane(t + 3 * step, b, 1);
  return (c4){SHUFFLE(lo, hi, 0, 2, 4, 6), SHUFFLE(lo, hi, 1, 3, 5, 7)};
}

static inline c4 times(const float *p, c4 t) {
  c4 x = load_c4(p);
  return (c4){x.r * t.r - x.i * t.i, x.r * t.i + x.i * t.r};
}

static inline c4 add(c4 a, c4 b) { return (c4){a.r + b.r, a.i + b.i}; }
static inline c4 sub(c4 a, c4 b) { return (c4){a.r - b.r, a.i - b.i}; }
static inline c4 scaled(c4 a, float x, c4 b, float y) {
  return (c4){a.r * x + b.r * y, a.i * x + b.i * y};
}
static inline void put(float *p, c4 x) { store_c4(p, x.r, x.i); }

static void first_radix4(float *p, int count) {
  for (; count > 0; count--, p += 8) {
    v4 a = load(p), b = load(p + 4), s = a + b, d = a - b;
    v4 even = SHUFFLE(s, d, 0, 1, 4, 5);
    v4 odd = SHUFFLE(s, d, 2, 3, 7, 6) * (v4){1, 1, 1, -1};
    store(p, even + odd);
    store(p + 4, even - odd);
  }
}

/* Always after the radix 4: m is 4. */
static void radix2(float *p, int count) {
  const float h = 0.7071067812f;
  for (; count > 0; count--, p += 16) {
    v4 a = load(p), b = load(p + 4), c = load(p + 8), d = load(p + 12);
    c = c * (v4){1, 1, h, h} + SHUFFLE(c, c, 1, 0, 3, 2) * (v4){0, 0, h, -h};
    d = d * (v4){0, 0, -h, -h} + SHUFFLE(d, d, 1, 0, 3, 2) * (v4){1, -1, h, -h};
    store(p, a + c);
    store(p + 4, b + d);
    store(p + 8, a - c);
    store(p + 12, b - d);
  }
}

static void radix4(float *p, int m, const kiss_twiddle_cpx *t, int step) {
  int u;
  for (u = 0; u < m; u += 4, p += 8) {
    float *p1 = p + 2 * m, *p2 = p1 + 2 * m, *p3 = p2 + 2 * m;
    c4 x0 = load_c4(p);
    c4 x1 = times(p1, twiddles(t + u * step, step));
    c4 x2 = times(p2, twiddles(t + 2 * u * step, 2 * step));
    c4 x3 = times(p3, twiddles(t + 3 * u * step, 3 * step));
    c4 a = add(x0, x2), b = sub(x0, x2), c = add(x1, x3), d = sub(x1, x3);
    put(p, add(a, c));
    put(p2, sub(a, c));
    store_c4(p1, b.r + d.i, b.i - d.r);
    store_c4(p3, b.r - d.i, b.i + d.r);
  }
}

static void radix3(float *p, int m, const kiss_twiddle_cpx *t, int step) {
  const float y = t[step * m].i;
  int u;
  for (u = 0; u < m; u += 4, p += 8) {
    float *p1 = p + 2 * m, *p2 = p1 + 2 * m;
    c4 x0 = load_c4(p);
    c4 x1 = times(p1, twiddles(t + u * step, step));
    c4 x2 = times(p2, twiddles(t + 2 * u * step, 2 * step));
    c4 s = add(x1, x2), d = sub(x1, x2), a = scaled(x0, 1, s, -.5f);
    put(p, add(x0, s));
    store_c4(p2, a.r + d.i * y, a.i - d.r * y);
    store_c4(p1, a.r - d.i * y, a.i + d.r * y);
  }
}

static void radix5(float *p, int m, const kiss_twiddle_cpx *t, int step) {
  const kiss_twiddle_cpx y = t[step * m], z = t[2 * step * m];
  int u;
  for (u = 0; u < m; u += 4, p += 8) {
    float *p1 = p + 2 * m, *p2 = p1 + 2 * m, *p3 = p2 + 2 * m, *p4 = p3 + 2 * m;
    c4 x0 = load_c4(p);
    c4 x1 = times(p1, twiddles(t + u * step, step));
    c4 x2 = times(p2, twiddles(t + 2 * u * step, 2 * step));
    c4 x3 = times(p3, twiddles(t + 3 * u * step, 3 * step));
    c4 x4 = times(p4, twiddles(t + 4 * u * step, 4 * step));
    c4 s1 = add(x1, x4), d1 = sub(x1, x4), s2 = add(x2, x3), d2 = sub(x2, x3);
    c4 a = add(x0, scaled(s1, y.r, s2, z.r)), b = scaled(d1, y.i, d2, z.i);
    c4 c = add(x0, scaled(s1, z.r, s2, y.r)), d = scaled(d2, y.i, d1, -z.i);
    put(p, add(x0, add(s1, s2)));
    store_c4(p1, a.r - b.i, a.i + b.r);
    store_c4(p4, a.r + b.i, a.i - b.r);
    store_c4(p2, c.r + d.i, c.i - d.r);
    store_c4(p3, c.r - d.i, c.i + d.r);
  }
}

void opus_fft_impl(const kiss_fft_state *st, kiss_fft_cpx *fout) {
  const opus_int16 *factor = st->factors;
  float *end = &fout[st->nfft].r;
  while (factor[1] != 1)
    factor += 2;
  for (; factor >= st->factors; factor -= 2) {
    const int radix = factor[0], m = factor[1];
    const int count = st->nfft / (radix * m);
    const int step = count << (st->shift > 0 ? st->shift : 0);
    float *p = &fout->r;
    if (m == 1)
      first_radix4(p, count);
    else if (radix == 2)
      radix2(p, count);
    else
      for (; p < end; p += 2 * radix * m) {
        if (radix == 3)
          radix3(p, m, st->twiddles, step);
        else if (radix == 4)
          radix4(p, m, st->twiddles, step);
        else
          radix5(p, m, st->twiddles, step);
      }
  }
}
/* What follows is libopus's own, which nobody calls. */
#define opus_fft_impl opus_fft_impl_plain
