/* Text, by what the platform has: semihosting (board.c) or stdout (host.c). */

#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdint.h>

void write_text(const char *text);

void write_number(uint32_t number);

/* With four digits after the point. */
void write_decimal(float number);

void write_hex(uint32_t number);

#endif
