"""Is it worth while to train replicas in one program? `python -m benchmarks.replicas [SIZE ...]`
(two minutes)

At each size (default 10k, 100k, 1m), with the batch, the rows and the device options of
configs/principles.py, 1, 2, 4 and 8 replicas in one program and 8 runs of one replica, one after
another, take turns. Prints tokens/s, and how many times the throughput of the runs in turn:
minimum, median and maximum over rounds. Budget for 8 replicas: at least 1.0 at every size, aim 1.5
at the smallest.
"""

from collections.abc import Sequence
import sys

from rich.console import Console
from rich.table import Table

from benchmarks.timing import Spread, Training, by_turns, ratio
from whyjax import command_line
from whyjax.config import ModelConfig, StudyConfig
from whyjax.corpus.vocabulary import vocabulary
from whyjax.model import sizes
from whyjax.training import mesh as meshes

ROUNDS = 7
REPLICAS = (1, 2, 4, 8)
SIZES = ('10k', '100k', '1m')


def measure(
  study: StudyConfig, size: str, rounds: int = ROUNDS, counts: Sequence[int] = REPLICAS
) -> dict[int, tuple[Spread, Spread]]:
  """Of so many replicas in one program: tokens/s, and the ratio to as many runs in turn as the
  largest of `counts`, which begin with 1."""
  model = ModelConfig(**sizes.size(size))
  shape = (model, study.pretrain, study.device)
  words = vocabulary(study.world).size
  programs = {r: Training(*shape, r, study.row_length, words) for r in counts}

  def in_turn():
    for _ in range(max(counts)):
      programs[1]()

  works = {f'{r} replicas': program for r, program in programs.items()} | {'in turn': in_turn}
  seconds = by_turns(works, rounds)
  found = {}
  for r, program in programs.items():
    own = seconds[f'{r} replicas']
    as_much = [s * max(counts) / r for s in own]  # for the work of all replicas
    speed = Spread.of([program.tokens / s for s in own])
    found[r] = speed, ratio(seconds['in turn'], as_much)
  return found


def main(argv: Sequence[str]) -> None:
  """Measures and prints."""
  study = command_line.parse([argv[0], '--config=configs/principles.py']).study
  meshes.start_backend(study.device)
  table = Table('size', 'program', 'tokens/s', 'times 8 runs in turn')
  for size in argv[1:] or SIZES:
    for r, (speed, gain) in measure(study, size).items():
      table.add_row(size, f'{r} in one', f'{speed.median:,.0f}', str(gain))
  Console().print(table)


if __name__ == '__main__':
  main(sys.argv)
