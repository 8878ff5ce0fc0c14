"""Does the best learning rate move with the width? `python -m benchmarks.learning_rates DIR
[mup|standard] [--NAME=VALUE ...]`

Pretrains sizes of the family at learning rates a factor of two apart, all for the same tokens, with
the world, rows and batches of configs/scaling.py, and prints the held-out loss of each (nats a
token, mean over worlds). Every learning rate is a study of its own under DIR, so that the same
command goes on where it was. Flags are passed on: `--config.seeds.worlds=2`, say.

Transfer (Yang et al. 2022): the best learning rate at the smallest width is within one step of the
grid of the best at the largest.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
import statistics
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from whyjax import results

SIZES = ('10k', '100k', '1m')  # widths 32, 64, 128
TOKENS = 600_000
RATES = tuple(1.25e-3 * 2**step for step in range(7))  # to 8e-2
BASE_WIDTH = {'mup': 32, 'standard': 0}


def arguments(rate: float, kind: str, workdir: Path) -> list[str]:
  """The command of one learning rate."""
  return [
    '--config=configs/scaling.py',
    f'--workdir={workdir}',
    f'--config.name=learning-rate-{kind}-{rate:g}',
    f'--config.pretrain.learning_rate={rate}',
    f'--config.model.base_width={BASE_WIDTH[kind]}',
    f'--config.scaling.sizes={SIZES}',
    f'--config.scaling.tokens=({TOKENS},)',
    '--config.scaling.compute=()',
    '--config.scaling.alignment_tokens=()',
    '--config.scaling.what=',
    '--config.arms=()',
    '--config.seeds.worlds=1',
    '--config.seeds.first_world=0',  # of calibration
  ]


def losses(workdir: Path) -> dict[str, float]:
  """Held-out loss by size."""
  found: dict[str, list[float]] = {size: [] for size in SIZES}
  for record in results.select(results.read(workdir / 'results.jsonl'), record='loss'):
    size = next(part for part in record['stage'].split('/') if part in SIZES)
    found[size].append(record['loss'])
  return {size: statistics.fmean(values) for size, values in found.items()}


def show(found: Mapping[float, Mapping[str, float]]) -> None:
  """Prints the table and what follows from it."""
  best = {size: min(found, key=lambda rate: found[rate][size]) for size in SIZES}
  table = Table('learning rate', *SIZES)
  for rate, row in found.items():
    marked = [f'{row[s]:.4f}{" <" if best[s] == rate else ""}' for s in SIZES]
    table.add_row(f'{rate:g}', *marked)
  Console().print(table)
  places = [list(found).index(best[size]) for size in (SIZES[0], SIZES[-1])]
  apart = abs(places[0] - places[1])
  at_end = any(place in (0, len(found) - 1) for place in places)
  print(
    f'Best at {SIZES[0]}: {best[SIZES[0]]:g}; at {SIZES[-1]}: {best[SIZES[-1]]:g}; {apart} steps'
    f' of the grid apart{"; one is the last of the grid, which is too small" if at_end else ""}.'
  )


def main(argv: Sequence[str]) -> None:
  """Trains and prints."""
  kind = argv[2] if len(argv) > 2 and argv[2] in BASE_WIDTH else 'mup'
  flags = [a for a in argv[2:] if a.startswith('--')]
  found = {}
  for rate in RATES:
    workdir = Path(argv[1]) / f'{kind}-{rate:g}'
    command = [sys.executable, '-m', 'whyjax.main', *arguments(rate, kind, workdir), *flags]
    subprocess.run(command, check=True)
    found[rate] = losses(workdir)
  show(found)


if __name__ == '__main__':
  main(sys.argv)
