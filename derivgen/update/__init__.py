"""Update rules of optimizers as expressions."""
