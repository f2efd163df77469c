/* What the generated drivers of models share: memory, numbers, hashes, and what becomes of statuses. */

#ifndef DRIVER_H
#define DRIVER_H

#include <stddef.h>
#include <stdint.h>

/* Memory of exactly this size, so that a sanitizer sees what lies outside; it is given back all at once. */
void *take(ptrdiff_t count, size_t size);
void give_back(void);

/* Numbers that are the same on all machines: reals of 24 bits in [0.5, 1.5), integers from 0 to before `classes`. */
void draw_float(ptrdiff_t count, float *out);
void draw_double(ptrdiff_t count, double *out);
void draw_int64_t(ptrdiff_t count, int64_t classes, int64_t *out);

/* Adds the bits of numbers to the hash; all NaNs have the same. */
void hash_float(ptrdiff_t count, const float *numbers);
void hash_double(ptrdiff_t count, const double *numbers);
void hash_int64_t(ptrdiff_t count, const int64_t *numbers);

uint64_t hash_so_far(void);
void start_hash(uint64_t start);

/* Compares a status with the wanted one, of which -1 stands for any; `trouble`: what is wrong with the arguments. */
void expect(const char *function, const char *trouble, int found, int wanted);

/* Whether a function whose status is not 0 has written nothing: the hash is that which was given. It is `start` then. */
void expect_unchanged(const char *function, const char *trouble, int status, uint64_t start, uint64_t given);

/* Prints the hash, or how many functions were called with how many troubles; what the program returns. */
int finish(void);

#endif
