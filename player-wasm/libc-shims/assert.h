#ifndef SEAMCAST_ASSERT_H
#define SEAMCAST_ASSERT_H
#define assert(condition) ((void)0)
#endif
