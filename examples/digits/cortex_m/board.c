/* The platform of a Cortex-M: the start, output by semihosting, and how much memory was in use. */

#include <stddef.h>
#include <stdint.h>

#include "output.h"

/* Places of board.ld. */
extern uint32_t data_in_flash[], data_start[], data_end[], bss_start[], bss_end[], stack_top[];

int main(void);
void reset(void);

/* Operations of Arm's semihosting, which QEMU and debuggers carry out. */
enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026 };

static const uint32_t UNUSED = 0xA5A5A5A5U;

static void semihosting(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

void write_text(const char *text)
{
    semihosting(SYS_WRITE0, text);
}

static void end(int status)
{
    const struct {
        int reason;
        int status;
    } block = {APPLICATION_EXIT, status};
    semihosting(SYS_EXIT_EXTENDED, &block);
    for (;;) {
    }
}

static void fault(void)
{
    write_text("fault\n");
    end(1);
}

static uint32_t bytes(const uint32_t *from, const uint32_t *to)
{
    return (uint32_t)(to - from) * (uint32_t)sizeof(uint32_t);
}

/* Words between .bss and the stack that were never written tell how deep the stack was. */
static void write_memory(void)
{
    const uint32_t *deepest = bss_end;
    while ((deepest < stack_top) && (*deepest == UNUSED)) {
        deepest = &deepest[1];
    }
    write_text("memory: ");
    write_number(bytes(data_start, bss_end));
    write_text(" bytes static, ");
    write_number(bytes(deepest, stack_top));
    write_text(" bytes of stack\n");
}

void reset(void)
{
    volatile uint32_t *const access = (volatile uint32_t *)0xE000ED88U; /* CPACR: full access to the FPU */
    *access |= 0xFU << 20U;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    for (ptrdiff_t i = 0; i < (data_end - data_start); ++i) {
        data_start[i] = data_in_flash[i];
    }
    for (uint32_t *word = bss_start; word < bss_end; word = &word[1]) {
        *word = 0U;
    }
    const uint32_t *here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (uint32_t *word = bss_end; word < here; word = &word[1]) {
        *word = UNUSED;
    }
    const int status = main();
    write_memory();
    end(status);
}

typedef void (*handler)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    handler handlers[5];
} vectors = {stack_top, {reset, fault, fault, fault, fault}};
