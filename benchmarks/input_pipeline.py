"""Is training short of input? `python -m benchmarks.input_pipeline [--config.field=value ...]` (a
minute)

Takes the pretraining of configs/principles.py (or of another --config), and in one run, by turns,
times batches from the loader alone and training steps alone on batches that are already on the
devices. Prints tokens a second of both, padding included, their ratio (budget: at least 20), and
the share of padding in the rows of every kind of stage (budget: below 5%).
"""

from collections.abc import Callable, Sequence
import dataclasses
from pathlib import Path
import statistics
import sys
import tempfile
import time

import jax
import numpy as np

from whyjax import command_line
from whyjax.config import StudyConfig
from whyjax.corpus import store
from whyjax.corpus.loader import Loader
from whyjax.corpus.vocabulary import vocabulary
from whyjax.study import graph
from whyjax.training import mesh as meshes
from whyjax.training.step import BATCH, make_program

ROUNDS = 7
UPDATES = (
  200  # of pretraining text: enough that no row is read twice, little enough to write in seconds
)


def main(argv: Sequence[str]) -> None:
  """Measures and prints; `argv` as of whyjax.main."""
  study = command_line.parse([argv[0], '--config=configs/principles.py', *argv[1:]]).study
  study = dataclasses.replace(
    study,
    pretrain=dataclasses.replace(study.pretrain, updates=UPDATES),
    pretrain_text=dataclasses.replace(study.pretrain_text, epochs=1),
  )
  meshes.start_backend(study.device)
  with tempfile.TemporaryDirectory() as folder:
    texts = _padding(study, Path(folder))
    read, train = _rates(study, texts)
  print(f'input     {read:12,.0f} tokens/s')
  print(
    f'training  {train:12,.0f} tokens/s on {jax.device_count()} devices '
    f'({jax.devices()[0].device_kind})'
  )
  print(f'ratio     {read / train:12.1f}')


def _padding(study: StudyConfig, root: Path) -> list[store.Corpus]:
  """Prints the padding of every corpus of the first replica; returns the pretraining corpora of
  all."""
  pretrain, *others = [stage for stage in graph.stages(study) if stage.trains]
  texts = [store.prepare(spec, root) for spec in pretrain.corpora]
  firsts = {stage.corpora[0].name: stage.corpora[0] for stage in others}
  for text in (texts[0], *(store.prepare(spec, root) for spec in firsts.values())):
    print(f'padding {100 * text.padding:5.2f}%  {text.spec.name}')
  return texts


def _rates(study: StudyConfig, texts: Sequence[store.Corpus]) -> tuple[float, float]:
  """Tokens a second of the loader alone and of training alone: medians of rounds that take
  turns."""
  stage, device, replicas = study.pretrain, study.device, len(texts)
  loader = Loader(texts, stage.batch_rows, range(replicas))
  mesh = meshes.make_mesh(device, replicas, stage.batch_rows // stage.accumulation)
  size = vocabulary(study.world).size
  program = make_program(study.model, size, stage, device, mesh, replicas, study.row_length)
  params = program.init_params(jax.vmap(jax.random.key)(np.arange(replicas)))
  state = params, program.init_optimizer(params)
  steps = device.steps_per_dispatch
  batches = [loader.batch(step) for step in range(steps)]
  stack = {
    name: jax.device_put(np.stack([b[name] for b in batches], axis=1), program.batch[name].sharding)
    for name in BATCH
  }

  def train():
    nonlocal state
    state, _ = jax.block_until_ready(program.compiled(state, stack, np.int32(steps)))

  train()  # the first call loads the program
  reads, trains = [], []
  for turn in range(1, ROUNDS + 1):
    reads.append(
      _seconds(lambda begin=turn * steps: [loader.batch(begin + i) for i in range(steps)])
    )
    trains.append(_seconds(train))
  tokens = steps * replicas * stage.batch_rows * study.row_length
  return tokens / statistics.median(reads), tokens / statistics.median(trains)


def _seconds(work: Callable) -> float:
  start = time.perf_counter()
  work()
  return time.perf_counter() - start


if __name__ == '__main__':
  main(sys.argv)
