/* Trains the model "digits" on the target itself: no heap, no library, all memory static.
 *
 * Images and labels are constants, which stay in flash. In RAM are the parameters, their gradient, the order of the
 * rows, and the memory of the kernels for one batch, whose size is DIGITS_WORKSPACE.
 */

#include "digits_data.h"
#include "digits_kernels.h"
#include "output.h"

#ifndef EPOCHS
#define EPOCHS 20
#endif

enum { BATCH = DIGITS_SIZE_N, CLASSES = DIGITS_SIZE_C };

static const double LEARNING_RATE = 0.2;

static float parameters[DIGITS_PARAMETERS];
static float gradient[DIGITS_PARAMETERS];
static int64_t steps[1];
static int64_t order[TRAIN_ROWS];
static float reals[DIGITS_WORKSPACE];
static int64_t integers[DIGITS_WORKSPACE_INTEGERS];
static float probabilities[BATCH][CLASSES];

/* Numbers by Marsaglia's xorshift. */
static uint32_t drawn(void)
{
    static uint32_t state = 1U;
    state ^= state << 13U;
    state ^= state >> 17U;
    state ^= state << 5U;
    return state;
}

/* A new order of the rows, by Fisher and Yates. */
static void shuffle(void)
{
    for (uint32_t i = TRAIN_ROWS - 1U; i > 0U; --i) {
        const uint32_t j = drawn() % (i + 1U);
        const int64_t row = order[i];
        order[i] = order[j];
        order[j] = row;
    }
}

/* How many images of the test set have their label as the most probable class. */
static uint32_t right(void)
{
    uint32_t count = 0U;
    for (ptrdiff_t first = 0; first < TEST_ROWS; first += BATCH) {
        const ptrdiff_t left = TEST_ROWS - first;
        const ptrdiff_t rows = (left < BATCH) ? left : BATCH;
        (void)digits_predict(rows, parameters, &x_test[first][0], reals, integers, &probabilities[0][0]);
        for (ptrdiff_t n = 0; n < rows; ++n) {
            ptrdiff_t best = 0;
            for (ptrdiff_t c = 1; c < CLASSES; ++c) {
                best = (probabilities[n][c] > probabilities[n][best]) ? c : best;
            }
            count += (best == (ptrdiff_t)y_test[first + n]) ? 1U : 0U;
        }
    }
    return count;
}

/* FNV-1a of the parameters' bytes: it tells whether two machines computed the same bits. */
static uint32_t hash(void)
{
    const unsigned char *bytes = (const unsigned char *)parameters;
    uint32_t value = 2166136261U;
    for (uint32_t i = 0U; i < sizeof parameters; ++i) {
        value = (value ^ bytes[i]) * 16777619U;
    }
    return value;
}

int main(void)
{
    int status = digits_initial(0, parameters);
    for (ptrdiff_t n = 0; n < TRAIN_ROWS; ++n) {
        order[n] = n;
    }
    for (uint32_t epoch = 1U; (epoch <= EPOCHS) && (status == DIGITS_OK); ++epoch) {
        float loss = 0.0f;
        shuffle();
        status = digits_train_epoch(TRAIN_ROWS, TRAIN_ROWS, parameters, gradient, steps, order, BATCH, 0,
                                    &x_train[0][0], y_train, reals, integers, LEARNING_RATE, &loss);
        write_text("epoch ");
        write_number(epoch);
        write_text("  loss ");
        write_decimal(loss);
        write_text("  right ");
        write_number(right());
        write_text(" of ");
        write_number(TEST_ROWS);
        write_text("\n");
    }
    write_text("hash of the parameters ");
    write_hex(hash());
    write_text("\n");
    return status;
}
