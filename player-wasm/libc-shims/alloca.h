#ifndef SEAMCAST_ALLOCA_H
#define SEAMCAST_ALLOCA_H
#define alloca(size) __builtin_alloca(size)
#endif
