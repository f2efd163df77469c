"""Train the transformer on text and print its bits per character: `python examples/characters_transformer/run.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for characters.py

import characters

from derivgen import runtime

EPOCHS, BATCH_SIZE, LEARNING_RATE = 10, 16, 0.002


def main(epochs: int = EPOCHS, progress: bool = True) -> characters.Bits:
    """Bits per character of the text that was held out."""
    module = runtime.load(Path(__file__).with_name("characters_transformer_kernels.py"))
    return characters.train(module, epochs, BATCH_SIZE, LEARNING_RATE, progress)


if __name__ == "__main__":
    main()
