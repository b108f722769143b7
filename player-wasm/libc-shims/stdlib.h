/* The C standard library as far as libopus needs it on wasm32-unknown-unknown.
   The functions are exported from Rust: see src/shell/libc.rs. */
#ifndef SEAMCAST_STDLIB_H
#define SEAMCAST_STDLIB_H
#include <stddef.h>
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *ptr, size_t size);
void free(void *ptr);
_Noreturn void abort(void);
#define abs(x) __builtin_abs(x)
#define labs(x) __builtin_labs(x)
#define EXIT_FAILURE 1
#define EXIT_SUCCESS 0
#endif
