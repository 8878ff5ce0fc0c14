"""Is training short of input? `python -m benchmarks.input_pipeline [--config.field=value ...]` (a
minute)

Takes the pretraining of configs/principles.py (or of another --config), and in one run, by turns,
times batches from the loader alone and training steps alone on batches that are already on the
devices. Prints tokens a second of both, padding included, their ratio (budget: at least 20), and
the share of padding in the rows of every kind of stage (budget: below 5%).
"""

from collections.abc import Sequence
import dataclasses
import itertools
from pathlib import Path
import statistics
import sys
import tempfile

import jax

from benchmarks.timing import Training, by_turns, ratio
from whyjax import command_line
from whyjax.config import StudyConfig
from whyjax.corpus import store
from whyjax.corpus.loader import Loader
from whyjax.corpus.vocabulary import vocabulary
from whyjax.study import graph
from whyjax.training import mesh as meshes

ROUNDS = 7
UPDATES = 100  # of pretraining text: no row is read twice, and it is written in seconds


def main(argv: Sequence[str]) -> None:
  """Measures and prints; `argv` as of whyjax.main."""
  study = command_line.parse([argv[0], '--config=configs/principles.py', *argv[1:]]).study
  meshes.start_backend(study.device)
  padding, read, train = measure(study)
  for name, share in padding.items():
    print(f'padding {100 * share:5.2f}%  {name}')
  print(f'input     {statistics.median(read):12,.0f} tokens/s')
  print(
    f'training  {statistics.median(train):12,.0f} tokens/s on {jax.device_count()} devices '
    f'({jax.devices()[0].device_kind})'
  )
  print(f'ratio     {ratio(read, train)}')


def measure(
  study: StudyConfig, rounds: int = ROUNDS
) -> tuple[dict[str, float], list[float], list[float]]:
  """The share of padding in every corpus of the first replica; and tokens a second of the loader
  alone and of training alone, of rounds that take turns."""
  study = dataclasses.replace(
    study,
    pretrain=dataclasses.replace(study.pretrain, updates=UPDATES),
    pretrain_text=dataclasses.replace(study.pretrain_text, epochs=1),
  )
  with tempfile.TemporaryDirectory() as folder:
    pretrain, *others = [stage for stage in graph.stages(study) if stage.trains]
    texts = [store.prepare(spec, Path(folder)) for spec in pretrain.corpora]
    firsts = {stage.corpora[0].name: stage.corpora[0] for stage in others}
    shown = [texts[0], *(store.prepare(spec, Path(folder)) for spec in firsts.values())]
    padding = {text.spec.name: text.padding for text in shown}
    return padding, *_rates(study, texts, rounds)


def _rates(
  study: StudyConfig, texts: Sequence[store.Corpus], rounds: int
) -> tuple[list[float], list[float]]:
  stage, device, replicas = study.pretrain, study.device, len(texts)
  loader = Loader(texts, stage.batch_rows, range(replicas))
  words = vocabulary(study.world).size
  train = Training(study.model, stage, device, replicas, study.row_length, words)
  numbers = itertools.count()

  def read():
    for _ in range(device.steps_per_dispatch):
      loader.batch(next(numbers))

  seconds = by_turns({'read': read, 'train': train}, rounds)
  return tuple([train.tokens / s for s in seconds[name]] for name in ('read', 'train'))


if __name__ == '__main__':
  main(sys.argv)
