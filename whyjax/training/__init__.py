"""How it learns: devices, optimizer, step, loop, checkpoints and metrics."""
