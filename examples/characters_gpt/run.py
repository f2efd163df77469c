"""Train the small GPT on Shakespeare and print its held-out loss: `python examples/characters_gpt/run.py`.

in_pytorch.py trains the same model from the same parameters on the same batches.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for shakespeare.py

import shakespeare
from shakespeare import BATCH_SIZE, ITERATIONS, characters

from derivgen import runtime

REPORT = 100  # iterations between two lines of progress


def main(iterations: int = ITERATIONS, progress: bool = True) -> float:
    """The mean loss of a held-out character, in nats; prints it, the time of training, and a text made up."""
    module = runtime.load(Path(__file__).with_name("characters_gpt_kernels.py"))
    text = shakespeare.read(module.INPUTS[0].shape[1], iterations)
    order = np.arange(iterations * BATCH_SIZE)
    parameters, state = module.initial_parameters(), module.optimizer_state()
    # A step on copies compiles, so that the seconds are those of training alone.
    module.train_epoch(parameters.copy(), module.optimizer_state(), order[:BATCH_SIZE], BATCH_SIZE, **text.training)

    start = time.process_time()
    for first in range(0, iterations, REPORT):
        rows = order[first * BATCH_SIZE : (first + REPORT) * BATCH_SIZE]
        loss = module.train_epoch(parameters, state, rows, BATCH_SIZE, **text.training)
        if progress:
            seconds = time.process_time() - start
            print(f"iteration {state.step[0]}: training loss {loss:.3f}, {seconds:.1f} s", flush=True)
    seconds = time.process_time() - start

    held_out = module.loss(parameters, **text.held_out)
    print(f"held-out loss: {held_out:.3f} after {iterations} iterations, {seconds:.1f} s of processor time")
    print(characters.sample(module, parameters, "\n", 500, text.alphabet))
    return held_out


if __name__ == "__main__":
    main()
