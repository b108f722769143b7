/* Four floats at a time. */
#ifndef SEAMCAST_VECTOR_H
#define SEAMCAST_VECTOR_H
#include <wasm_simd128.h>

typedef float v4 __attribute__((vector_size(16)));
typedef float v4_unaligned __attribute__((vector_size(16), aligned(4)));

#define SHUFFLE __builtin_shufflevector
#define REVERSE(v) SHUFFLE(v, v, 3, 2, 1, 0)

static inline v4 load(const float *p) { return *(const v4_unaligned *)p; }
static inline void store(float *p, v4 v) { *(v4_unaligned *)p = v; }

/* Four complex numbers; in memory, real and imaginary parts take turns. */
typedef struct { v4 r, i; } c4;

static inline c4 load_c4(const float *p) {
  v4 a = load(p), b = load(p + 4);
  return (c4){SHUFFLE(a, b, 0, 2, 4, 6), SHUFFLE(a, b, 1, 3, 5, 7)};
}
static inline void store_c4(float *p, v4 r, v4 i) {
  store(p, SHUFFLE(r, i, 0, 4, 1, 5));
  store(p + 4, SHUFFLE(r, i, 2, 6, 3, 7));
}
#endif
