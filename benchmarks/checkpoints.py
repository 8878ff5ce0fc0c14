"""What do checkpoints cost? `python -m benchmarks.checkpoints [--config.field=value ...]` (four
minutes)

Trains the model of configs/principles.py (or of another --config) on random text by the loop of
training, with a checkpoint every few updates and with one at the end, by turns, so that the cost of
one is many times the noise. Prints the seconds of an update and of a checkpoint, which is all that
it takes from training: waiting for the devices, copying, and what writing in the background slows
down; and the share of pretraining that checkpoints take as often as the config says (budget: below
3%).
"""

from collections.abc import Callable, Sequence
import dataclasses
from pathlib import Path
import sys
import tempfile

from benchmarks.timing import RandomText, Spread, by_turns
from whyjax import command_line
from whyjax.config import StudyConfig
from whyjax.corpus.vocabulary import vocabulary
from whyjax.training import loop
from whyjax.training import mesh as meshes

ROUNDS = 5
UPDATES = 100
OFTEN = 10


def main(argv: Sequence[str]) -> None:
  """Measures and prints; `argv` as of whyjax.main."""
  study = command_line.parse([argv[0], '--config=configs/principles.py', *argv[1:]]).study
  meshes.start_backend(study.device)
  update, checkpoint, share = measure(study)
  print('minimum / median / maximum of', ROUNDS, 'rounds')
  print(f'an update     {update} s')
  print(f'a checkpoint  {checkpoint} s')
  every = study.pretrain.checkpoint_every
  print(f'share         {share} % of pretraining, with one every {every} updates')


def measure(
  study: StudyConfig, rounds: int = ROUNDS, updates: int = UPDATES, often: int = OFTEN
) -> tuple[Spread, Spread, Spread]:
  """Seconds of an update and of a checkpoint, and the share of pretraining in percent.

  Args:
    often: updates between checkpoints, where there are many.
  """
  with tempfile.TemporaryDirectory() as folder:
    works = {
      name: training(study, Path(folder), updates, every)
      for name, every in (('often', often), ('once', updates))
    }
    seconds = by_turns(works, rounds)
  extra = updates // often - 1
  pairs = list(zip(seconds['often'], seconds['once'], strict=True))
  every = study.pretrain.checkpoint_every
  return (
    Spread.of([s / updates for s in seconds['once']]),
    Spread.of([(o - s) / extra for o, s in pairs]),
    Spread.of([100 * (o - s) / extra / (every * s / updates) for o, s in pairs]),
  )


def training(study: StudyConfig, root: Path, updates: int, every: int) -> Callable[[], None]:
  """Trains from scratch, a checkpoint after every so many updates; each call in its own
  directory."""
  replicas = study.seeds.worlds
  stage = dataclasses.replace(study.pretrain, updates=updates, checkpoint_every=every)
  words = vocabulary(study.world).size

  def train():
    directory = Path(tempfile.mkdtemp(dir=root))
    loop.train(
      name='pretrain',
      model=study.model,
      vocabulary=words,
      stage=stage,
      device=study.device,
      data=RandomText(replicas, stage.batch_rows, study.row_length, words),
      params=None,
      seeds=range(replicas),
      directory=directory,
      meta={},
      log=lambda line: None,
    )

  return train


if __name__ == '__main__':
  main(sys.argv)
