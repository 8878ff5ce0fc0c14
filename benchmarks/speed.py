"""How fast is whyjax on this machine, and beside what? `python -m benchmarks.speed [--quick]
[--json=FILE] [--only=PART]`

One run measures, by turns where there is something to compare with (minutes in brackets):

- training: tokens/s of the size presets that fit in memory, as a share of the largest matmul rate
  seen in the same run, and as ratios to Hugging Face's Llama on torch and to a plain loop of Flax
  Linen (15);
- replicas: 1, 2, 4 and 8 in one program (2);
- evaluation: items/s forced and free-running, and cached decoding beside re-running the prefix (1);
- input: the loader beside training, and padding (1);
- checkpoints: their share of pretraining (3);
- start: from the command to the first update, with no compiled programs kept and with all (2).

Every figure is minimum / median / maximum over rounds; `--quick` (2 to 3 minutes) makes fewer, of
fewer sizes.
The same goes to FILE as JSON lines. Torch is installed for this alone: benchmarks/requirements.txt.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import json
import os
from pathlib import Path
import sys
import time

from absl import app, flags, logging
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import answers, checkpoints, first_step, input_pipeline, replicas
from benchmarks.rivals.shape import Shape
from benchmarks.rivals.turns import Process
from benchmarks.timing import Spread, Training, by_turns, ratio
from whyjax import command_line
from whyjax.config import ModelConfig, StudyConfig
from whyjax.corpus.vocabulary import vocabulary
from whyjax.model import sizes
from whyjax.training import mesh as meshes

ROUNDS = 5
QUICK_SIZES = ('100k', '1m')
BYTES = 24  # of memory a parameter: itself, its gradient, Adam's two moments, and as much to spare
ROWS = 64  # at most, and fewer where an update would take longer than
LONGEST = 10.0  # seconds
CALL, QUICK_CALL = 0.6, 0.3  # seconds that a call should take at least
EXPECTED = 0.5  # share of the peak, by which the updates of a call are chosen
SIDES = (512, 1024, 2048)  # of the matmuls
RIVALS = {
  'Hugging Face Llama': 'benchmarks.rivals.huggingface',
  'plain Flax': 'benchmarks.rivals.plain_flax',
}
# The least ratio to a rival at a width, and the least share of the peak.
LEAST = {
  'Hugging Face Llama': {64: 1.0, 128: 1.0, 256: 1.0},
  'plain Flax': {64: 2.0, 128: 2.0, 256: 1.8},
}
PEAK = {128: 0.40, 256: 0.55, 512: 0.55}


@dataclasses.dataclass(frozen=True)
class Figure:
  """What was measured: over rounds; and what it should be at least or at most."""

  part: str
  name: str
  unit: str
  spread: Spread
  least: float | None = None
  most: float | None = None

  @property
  def verdict(self) -> str:
    """Of the median."""
    if self.least is not None:
      return f'{"met" if self.spread.median >= self.least else "MISSED"} (>= {self.least:g})'
    if self.most is not None:
      return f'{"met" if self.spread.median <= self.most else "MISSED"} (<= {self.most:g})'
    return ''


def training(study: StudyConfig, rounds: int, quick: bool) -> Iterator[Figure]:
  """Tokens/s, share of the peak, and ratios to rivals, size by size."""
  peaks = by_turns({side: _matmul(side) for side in SIDES}, 3 * rounds)
  flops = 2 * max(SIDES) ** 3
  rates = {side: [1e-9 * flops / s for s in seconds] for side, seconds in peaks.items()}
  for side, values in rates.items():
    yield Figure('training', f'matmul of side {side}', 'GFLOP/s', Spread.of(values))
  peak = max(Spread.of(values).median for values in rates.values())
  with contextlib.ExitStack() as stack:
    rivals = {name: stack.enter_context(Process(module)) for name, module in RIVALS.items()}
    for size in QUICK_SIZES if quick else _fitting():
      yield from _size(study, size, rounds, QUICK_CALL if quick else CALL, peak, rivals)


def _fitting() -> list[str]:
  """The presets that this machine's memory holds in training."""
  memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  models = {size: ModelConfig(**sizes.size(size)) for size in sizes.SIZES}
  return [s for s, m in models.items() if BYTES * sizes.non_embedding_parameters(m) < memory]


def _size(
  study: StudyConfig,
  size: str,
  rounds: int,
  call: float,
  peak: float,
  rivals: dict[str, Process],
) -> Iterator[Figure]:
  model = ModelConfig(**sizes.size(size))
  words = vocabulary(study.world).size
  flops = sizes.flops_per_token(model, words, study.row_length)
  row = study.row_length * flops / (EXPECTED * 1e9 * peak)  # seconds, about
  most = 2 ** int(np.log2(max(LONGEST / row, 1)))  # devices share it evenly
  rows = min(study.pretrain.batch_rows * sizes.BATCH[size], ROWS, most)
  updates = int(np.clip(np.ceil(call / (rows * row)), 1, 100))
  stage = dataclasses.replace(study.pretrain, batch_rows=rows)
  shape = model, stage, study.device, 1, study.row_length, words
  where = f'{size}, width {model.width}, {rows} x {study.row_length} tokens'
  same = {name: getattr(model, name) for name in _MODEL_FIELDS}
  arguments = Shape(
    **same, vocabulary=words, rows=rows, row_length=study.row_length, updates=updates
  )
  beside = [name for name in rivals if model.width <= max(LEAST[name])]
  for name in beside:
    rivals[name].prepare(arguments.dumps())
  works: dict[str, Callable] = {'whyjax': Training(*shape, updates)}
  for name in beside:
    try:
      works[name] = rivals[name].wait()
    except RuntimeError as error:
      print(f'{name}: no ratios to it: {error}', file=sys.stderr)
      del rivals[name]
  seconds = by_turns(works, rounds)
  for name, own in seconds.items():
    speed = Spread.of([arguments.tokens / s for s in own])
    yield Figure('training', f'{where}: {name}', 'tokens/s', speed)
  share = Spread.of([arguments.tokens * flops / s / (1e9 * peak) for s in seconds['whyjax']])
  yield Figure(
    'training', f'{where}: share of the largest matmul', '', share, PEAK.get(model.width)
  )
  for name in RIVALS:
    if name in seconds:
      gain = ratio(seconds[name], seconds['whyjax'])
      yield Figure('training', f'{where}: times {name}', 'x', gain, LEAST[name].get(model.width))


_MODEL_FIELDS = ('width', 'layers', 'heads', 'kv_heads', 'head_dim', 'mlp_width')


def _matmul(side: int) -> Callable[[], None]:
  """Products of (side, side) matrices, as many as make one of the largest."""
  x = jnp.ones((side, side)) / side
  multiply = jax.jit(
    lambda x: jax.lax.fori_loop(0, (max(SIDES) // side) ** 3, lambda _, y: x @ y, x)
  )
  return lambda: jax.block_until_ready(multiply(x))


def replicated(study: StudyConfig, rounds: int, quick: bool) -> Iterator[Figure]:
  """Replicas in one program beside runs in turn."""
  names, counts = (('10k',), (1, 8)) if quick else (replicas.SIZES, replicas.REPLICAS)
  for size in names:
    for count, (speed, gain) in replicas.measure(study, size, rounds, counts).items():
      name = f'{size}, {count} replicas'
      yield Figure('replicas', name, 'tokens/s', speed)
      least = 1.2 if count == max(counts) else None
      yield Figure('replicas', f'{name}: times 8 runs in turn', 'x', gain, least)


def evaluation(study: StudyConfig, rounds: int, quick: bool) -> Iterator[Figure]:
  """Items a second; decoding with and without a cache."""
  for name, rate in answers.scoring(study, rounds).items():
    yield Figure('evaluation', name, 'items/s', rate)
  name = f'{answers.LENGTH} tokens: cached decoding, times re-running the prefix'
  yield Figure('evaluation', name, 'x', answers.decoding_gain(study, rounds), 8)


def reading(study: StudyConfig, rounds: int, quick: bool) -> Iterator[Figure]:
  """The loader and its padding."""
  padding, read, train = input_pipeline.measure(study, rounds)
  worst = Spread.of([100 * share for share in padding.values()])
  yield Figure('input', 'padding, over the corpora of all arms', '%', worst, most=5)
  yield Figure('input', 'the loader', 'tokens/s', Spread.of(read))
  gain = Spread.of([r / t for r, t in zip(read, train, strict=True)])
  yield Figure('input', 'the loader, times training', 'x', gain, 20)


def saving(study: StudyConfig, rounds: int, quick: bool) -> Iterator[Figure]:
  """Checkpoints."""
  fewer = dict(rounds=1, updates=12, often=3) if quick else dict(rounds=rounds)
  _, checkpoint, share = checkpoints.measure(study, **fewer)
  yield Figure('checkpoints', 'a checkpoint', 's', checkpoint)
  yield Figure('checkpoints', 'share of pretraining', '%', share, most=3)


def starting(study: StudyConfig, rounds: int, quick: bool) -> Iterator[Figure]:
  """Command to first update."""
  for name, seconds in first_step.measure(1 if quick else 3, quick).items():
    yield Figure('start', f'command to first update, {name}', 's', Spread.of(seconds))


PARTS = {
  'training': training,
  'replicas': replicated,
  'evaluation': evaluation,
  'input': reading,
  'checkpoints': saving,
  'start': starting,
}
_QUICK = flags.DEFINE_bool('quick', False, 'Fewer rounds and sizes.')
_JSON = flags.DEFINE_string('json', None, 'File for the figures as JSON lines.')
_ONLY = flags.DEFINE_enum('only', None, list(PARTS), 'One part alone.')


def main(argv: list[str]) -> None:
  """Measures and prints."""
  logging.set_verbosity(logging.ERROR)  # Orbax tells every step of a checkpoint
  study = command_line.parse([argv[0], '--config=configs/principles.py']).study
  meshes.start_backend(study.device)
  rounds = 3 if _QUICK.value else ROUNDS
  found, console = [], Console(width=None if sys.stdout.isatty() else 120)
  if _JSON.value:
    Path(_JSON.value).write_text('')
  for part in [_ONLY.value] if _ONLY.value else PARTS:
    begun = time.perf_counter()
    for figure in PARTS[part](study, rounds, _QUICK.value):
      found.append(figure)
      if _JSON.value:
        with open(_JSON.value, 'a') as lines:
          lines.write(json.dumps(dataclasses.asdict(figure)) + '\n')
      console.print(f'{figure.name}  {figure.spread} {figure.unit}', style='dim', highlight=False)
    console.print(f'{part}: {time.perf_counter() - begun:.0f} s', style='dim', highlight=False)
  table = Table('part', 'figure', 'min / median / max', 'unit', 'target')
  for figure in found:
    table.add_row(figure.part, figure.name, str(figure.spread), figure.unit, figure.verdict)
  console.print(table)


if __name__ == '__main__':
  app.run(main)
