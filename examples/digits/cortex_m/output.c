#include "output.h"

static const char DIGITS[] = "0123456789abcdef";

/* The last `count` digits at least, and as many more as the number has. */
static void write_digits(uint32_t number, uint32_t base, int count)
{
    char text[11];
    int first = 10;
    uint32_t rest = number;
    text[first] = '\0';
    do {
        --first;
        text[first] = DIGITS[rest % base];
        rest /= base;
    } while ((rest > 0U) || (first > (10 - count)));
    write_text(&text[first]);
}

void write_number(uint32_t number)
{
    write_digits(number, 10U, 1);
}

void write_decimal(float number)
{
    if ((number >= 0.0f) && (number < 100000.0f)) {
        const uint32_t units = (uint32_t)((number * 10000.0f) + 0.5f);
        write_number(units / 10000U);
        write_text(".");
        write_digits(units % 10000U, 10U, 4);
    } else {
        write_text("out of range");
    }
}

void write_hex(uint32_t number)
{
    write_digits(number, 16U, 8);
}
