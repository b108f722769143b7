/* sqrt, floor and rint are single wasm instructions; the transcendental
   functions come from Rust's compiler_builtins (the libm crate). */
#ifndef SEAMCAST_MATH_H
#define SEAMCAST_MATH_H
#define M_PI 3.14159265358979323846
#define HUGE_VAL __builtin_huge_val()
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define isnan(x) __builtin_isnan(x)
#define isinf(x) __builtin_isinf(x)
#define fabs(x) __builtin_fabs(x)
#define fabsf(x) __builtin_fabsf(x)
#define floor(x) __builtin_floor(x)
#define floorf(x) __builtin_floorf(x)
#define ceil(x) __builtin_ceil(x)
#define rint(x) __builtin_rint(x)
#define rintf(x) __builtin_rintf(x)
#define sqrt(x) __builtin_sqrt(x)
#define sqrtf(x) __builtin_sqrtf(x)
double acos(double);
double atan(double);
double atan2(double, double);
/* Brings no 6 kB of argument reduction: see src/shell/celt_tables.rs. */
#define cos(x) seamcast_cos(x)
double seamcast_cos(double);
#define exp(x) seamcast_exp(x)
double exp2(double);
double log(double);
double log10(double);
double log2(double);
double pow(double, double);
double sin(double);
double tan(double);
double tanh(double);
float cosf(float);
float expf(float);
float logf(float);
float powf(float, float);
float sinf(float);
/* CELT's band energies, rounded to float at once: 2^n by bits, the rest by
   Taylor's series to 1e-11. Three times as fast as the general one. */
static inline double seamcast_exp(double x) {
  double n, r;
  union { long long bits; double value; } power;
  x = x < -700 ? -700 : x > 700 ? 700 : x;
  n = __builtin_rint(x * 1.4426950408889634);
  r = x - n * 0.6931471805599453;
  power.bits = ((long long)n + 1023) << 52;
  return power.value * (1 + r * (1 + r * (1 / 2. + r * (1 / 6. + r * (1 / 24. +
      r * (1 / 120. + r * (1 / 720. + r * (1 / 5040. + r * (1 / 40320. + r / 362880)))))))));
}
static inline long lrint(double x) { return (long)__builtin_rint(x); }
static inline long lrintf(float x) { return (long)__builtin_rintf(x); }
#endif
