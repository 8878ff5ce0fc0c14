"""Replicas that one program trains in turn, and each of them by itself: `python -m
tests.training.in_turn DIR` ends with 1 where they differ in a single bit."""

import dataclasses
from pathlib import Path
import sys

import jax

from tests.training import conftest as tiny


def main(directory: Path) -> bool:
  """Whether all are equal."""
  device = dataclasses.replace(tiny.DEVICE, host_devices=1, mesh_replica=1)
  together = tiny.train(directory / 'together', device=device)
  equal = []
  for r in range(4):
    data = tiny.Rows(1, first=r)
    single = tiny.train(directory / str(r), data=data, seeds=[r + 1], device=device)
    params = jax.tree.map(lambda x, r=r: x[r : r + 1], together.params)
    equal.append(tiny.equal(single.params, params) and single.loss == together.loss[r : r + 1])
  return all(equal)


if __name__ == '__main__':
  sys.exit(not main(Path(sys.argv[1])))
