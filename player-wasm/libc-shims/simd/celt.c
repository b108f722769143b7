/* The constant part of comb_filter. It may work in place: the period is 15 or more. */
#include "vector.h"
#define OVERRIDE_COMB_FILTER_CONST
#define comb_filter_const(y, x, T, N, g10, g11, g12, arch) comb(y, x, T, N, g10, g11, g12)

static void comb(float *y, const float *x, int period, int n, float g0, float g1, float g2) {
  const float *z = x - period;
  int i;
  for (i = 0; i + 4 <= n; i += 4)
    store(y + i, load(x + i) + g0 * load(z + i) + g1 * (load(z + i + 1) + load(z + i - 1)) +
                     g2 * (load(z + i + 2) + load(z + i - 2)));
  for (; i < n; i++)
    y[i] = x[i] + g0 * z[i] + g1 * (z[i + 1] + z[i - 1]) + g2 * (z[i + 2] + z[i - 2]);
}
