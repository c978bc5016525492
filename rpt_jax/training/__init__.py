"""Steps, loops, optimizers, sharding, checkpoints, metrics."""
