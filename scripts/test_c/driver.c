#include "driver.h"

#include "output.h"

#ifndef ARENA
#include <stdlib.h>
#endif

enum { MOST = 64, STATUSES = 4 }; /* arrays at once; all statuses are less */

static uint64_t hash = 0xCBF29CE484222325U;
static uint32_t state = 1U;
static uint32_t calls = 0U;
static int failed = 0;

/* Memory that holds nothing: NaN, or -1. */
static void *marked(void *memory, size_t bytes)
{
    unsigned char *own = memory;
    for (size_t i = 0; i < bytes; ++i) {
        own[i] = 0xFFU;
    }
    return memory;
}

#ifdef ARENA
static double arena[ARENA / sizeof(double)];
static size_t used = 0U;

void *take(ptrdiff_t count, size_t size)
{
    void *own = &arena[used];
    used += (((size_t)count * size) + sizeof(double) - 1U) / sizeof(double);
    if (used > (sizeof arena / sizeof(double))) {
        write_text("the arena is too small\n");
        failed = 1;
        used = 0U;
    }
    return marked(own, (size_t)count * size);
}

void give_back(void)
{
    used = 0U;
}
#else
static void *taken[MOST];
static int number_taken = 0;

void *take(ptrdiff_t count, size_t size)
{
    void *own = (number_taken < MOST) ? malloc((size_t)count * size) : NULL;
    if (own == NULL) {
        write_text("no memory is left\n");
        exit(1);
    }
    taken[number_taken] = own;
    ++number_taken;
    return marked(own, (size_t)count * size);
}

void give_back(void)
{
    while (number_taken > 0) {
        --number_taken;
        free(taken[number_taken]);
    }
}
#endif

/* Source: Marsaglia 2003, Xorshift RNGs. */
static uint32_t word(void)
{
    state ^= state << 13U;
    state ^= state >> 17U;
    state ^= state << 5U;
    return state;
}

void draw_float(ptrdiff_t count, float *out)
{
    for (ptrdiff_t i = 0; i < count; ++i) {
        out[i] = 0.5f + ((float)(word() >> 9U) * 0x1p-23f);
    }
}

void draw_double(ptrdiff_t count, double *out)
{
    for (ptrdiff_t i = 0; i < count; ++i) {
        out[i] = 0.5 + ((double)(word() >> 9U) * 0x1p-23);
    }
}

void draw_int64_t(ptrdiff_t count, int64_t classes, int64_t *out)
{
    for (ptrdiff_t i = 0; i < count; ++i) {
        out[i] = (int64_t)word() % classes;
    }
}

/* Source: Fowler, Noll and Vo's hash FNV-1a, of words. */
static void add(uint64_t bits)
{
    hash = (hash ^ bits) * 0x100000001B3U;
    hash ^= hash >> 32U;
}

void hash_float(ptrdiff_t count, const float *numbers)
{
    for (ptrdiff_t i = 0; i < count; ++i) {
        const union {
            float number;
            uint32_t bits;
        } both = {.number = numbers[i]};
        add((numbers[i] == numbers[i]) ? both.bits : 0x7FC00000U);
    }
}

void hash_double(ptrdiff_t count, const double *numbers)
{
    for (ptrdiff_t i = 0; i < count; ++i) {
        const union {
            double number;
            uint64_t bits;
        } both = {.number = numbers[i]};
        add((numbers[i] == numbers[i]) ? both.bits : 0x7FF8000000000000U);
    }
}

void hash_int64_t(ptrdiff_t count, const int64_t *numbers)
{
    for (ptrdiff_t i = 0; i < count; ++i) {
        add((uint64_t)numbers[i]);
    }
}

uint64_t hash_so_far(void)
{
    return hash;
}

void start_hash(uint64_t start)
{
    hash = start;
}

static void complain(const char *function, const char *trouble, const char *of)
{
    write_text(function);
    write_text(", ");
    write_text(trouble);
    write_text(of);
    failed = 1;
}

void expect_unchanged(const char *function, const char *trouble, int status, uint64_t start, uint64_t given)
{
    if ((status != 0) && (hash != given)) {
        complain(function, trouble, ": refused, but something is written\n");
    }
    hash = start;
}

void expect(const char *function, const char *trouble, int found, int wanted)
{
    ++calls;
    if ((found < 0) || (found >= STATUSES) || ((wanted >= 0) && (found != wanted))) {
        complain(function, trouble, ": status ");
        write_hex((uint32_t)found);
        write_text(", not ");
        write_hex((uint32_t)wanted);
        write_text("\n");
    }
}

int finish(void)
{
    write_text("hash ");
    write_hex((uint32_t)(hash >> 32U));
    write_hex((uint32_t)hash);
    write_text(" of ");
    write_number(calls);
    write_text(" calls\n");
    return failed;
}
