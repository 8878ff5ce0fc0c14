"""What do sizes ask of TPU slices? `python -m benchmarks.scale [SIZE ...] [tpu:VERSION:SHAPE ...]`
(an hour for all; needs `pip install "jax[tpu]"` in an environment of its own)

Compiles pretraining and decoding of configs/scaling.py:tpu for slices that are not here, as
`--action=plan --target` does, and prints the rows of the table in docs/scale.md, each as soon as it
is known. Nothing runs.
"""

from collections.abc import Sequence
import sys

import numpy as np

from whyjax import command_line
from whyjax.config import StudyConfig
from whyjax.study import target as targets
from whyjax.training import aot

SIZES = ('10m', '30m', '100m', '300m', '1b')
TARGETS = ('tpu:v5e:1x1', 'tpu:v5e:2x4', 'tpu:v5e:16x16')
LARGE = ('100m', '300m', '1b')


def arguments(size: str, target: str) -> list[str]:
  """Of the command whose plan a row shows: whatever is not said is as in the preset."""
  chips = np.prod([int(n) for n in target.split(':')[2].split('x')])
  asked = [
    '--config=configs/scaling.py:tpu',
    f"--config.scaling.sizes=('{size}',)",
    '--config.scaling.compute=(1e18,)',  # many updates of any of them
    '--config.seeds.worlds=1',
  ]
  if size in LARGE and chips < 256:  # so that the activations of an update fit
    asked += ['--config.device.remat=True', '--config.pretrain.accumulation=16']
  return asked


def main(argv: Sequence[str]) -> None:
  """Compiles and prints."""
  sizes = [a for a in argv[1:] if not a.startswith('tpu:')] or SIZES
  slices = [a for a in argv[1:] if a.startswith('tpu:')] or TARGETS
  for size in sizes:
    for name in slices:
      study = command_line.parse([argv[0], *arguments(size, name)]).study
      print(row(study, size, aot.describe(name)), flush=True)


def row(study: StudyConfig, size: str, target: aot.Target) -> str:
  """A row of the table: size, chips, mesh, and what training and decoding need and exchange."""
  jobs = list(targets.jobs(study, target))
  train, decode = jobs[0], next(job for job in jobs if job.name.startswith('decoding'))
  mesh = 'x'.join(str(n) for n in train.mesh.shape.values())
  cells = [size, target.name, mesh, f'{train.flops:.1e}']
  for job in (train, decode):
    found = target.compile(job.function, *job.arguments)
    if found.fault:
      cells += [f'does not fit: {found.fault}', '-']
    else:
      cells += [f'{_gigabytes(found.resident)} + {_gigabytes(found.temporary)}']
      cells += [_gigabytes(sum(c.bytes for c in found.collectives))]
  return f'| {" | ".join(cells)} |'


def _gigabytes(count: float) -> str:
  return f'{count / 2**30:.2g} GB' if count >= 2**30 / 100 else f'{count / 2**20:.2g} MB'


if __name__ == '__main__':
  main(sys.argv)
