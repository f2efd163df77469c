"""Training: loops, metrics, histories, checkpoints."""
