/* The platform of a computer with an operating system. */

#include <stdio.h>

#include "output.h"

void write_text(const char *text)
{
    (void)fputs(text, stdout);
}
