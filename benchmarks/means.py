"""What does each means of speed pay on this machine? `python -m benchmarks.means [SIZE ...]`
(20 minutes)

Trains a model of each size (default 100k with the six replicas of the main job, 1m and 3m with one)
as configs/principles.py does on a CPU, and with one thing changed at a time. Every variant is a
process of its own, and all take turns. Prints tokens/s over those of the shipped options, minimum,
median and maximum over rounds: below 1, what was changed pays.
"""

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import json
import sys

from rich.console import Console
from rich.table import Table

from benchmarks.rivals.turns import Process, serve
from benchmarks.timing import Training, by_turns, ratio
from whyjax import command_line
from whyjax.config import ModelConfig, StudyConfig
from whyjax.corpus.vocabulary import vocabulary
from whyjax.model import sizes
from whyjax.training import mesh as meshes

ROUNDS = 7
REPLICAS = {'100k': 6}  # others: one
ROWS = 64  # of an update, at most
TOKENS_A_CALL = {'100k': 150_000, '1m': 30_000}  # more than half a second
FEWEST = 12_000


@dataclasses.dataclass(frozen=True)
class Variant:
  """What is other than shipped.

  Attributes:
    device: fields of `DeviceConfig`.
    row_length: tokens of a row, as many of them an update; 0 = as shipped.
    environment: variables of the process.
  """

  device: Mapping[str, object] = dataclasses.field(default_factory=dict)
  row_length: int = 0
  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


SHIPPED = 'as shipped'


def _tunables(*settings: str) -> Variant:
  names = ':'.join(f'glibc.malloc.{setting}' for setting in settings)
  return Variant(environment={'GLIBC_TUNABLES': names})


def _flag(flag: str) -> Variant:
  return Variant(environment={'XLA_FLAGS': flag})


VARIANTS = {
  SHIPPED: Variant(),
  'one update a dispatch, each waited for': Variant({'steps_per_dispatch': 1}),
  'one host device instead of two': Variant({'host_devices': 1}),
  'layers in a loop, not unrolled': Variant({'scan_layers': True}),
  'layers computed again for the gradient': Variant({'remat': True}),
  'replicas batched, not in turn': Variant({'replica_loop': False}),
  'no micro-batches': Variant({'tokens_at_once': 0}),
  'micro-batches half as large': Variant({'tokens_at_once': 384}),
  'parameters divided over devices': Variant({'fsdp': True}),
  'rows of 64 tokens': Variant(row_length=64),
  'rows of 192 tokens': Variant(row_length=192),
  'malloc: huge pages': _tunables('hugetlb=1'),
  'malloc: huge pages, no mmap': _tunables(
    'hugetlb=1', 'mmap_max=0', 'trim_threshold=4294967296', 'top_pad=268435456'
  ),
  'XLA: no multi-threaded matmul': _flag('--xla_cpu_multi_thread_eigen=false'),
  'XLA: fast math (other results)': _flag('--xla_cpu_enable_fast_math=true'),
  'XLA: order of memory': _flag('--xla_cpu_enable_concurrency_optimized_scheduler=false'),
}


def training(study: StudyConfig, size: str, variant: Variant) -> Training:
  """The work of one process."""
  device = dataclasses.replace(study.device, **variant.device)
  meshes.start_backend(device)
  model = ModelConfig(**sizes.size(size))
  row_length = variant.row_length or study.row_length
  rows = min(study.pretrain.batch_rows * sizes.BATCH[size], ROWS)
  stage = dataclasses.replace(study.pretrain, batch_rows=rows * study.row_length // row_length)
  replicas = REPLICAS.get(size, 1)
  tokens = TOKENS_A_CALL.get(size, FEWEST)
  updates = -(-tokens // (replicas * rows * study.row_length))
  words = vocabulary(study.world).size
  return Training(model, stage, device, replicas, row_length, words, updates)


def measure(size: str, rounds: int = ROUNDS) -> dict[str, list[float]]:
  """Seconds of each variant that applies, round by round, for the same tokens."""
  skipped = {'replicas batched, not in turn'} if size not in REPLICAS else set()
  with contextlib.ExitStack() as stack:
    works = {}
    for name, variant in VARIANTS.items():
      if name not in skipped:
        process = Process('benchmarks.means', '--serve', environment=variant.environment)
        stack.enter_context(process).prepare(json.dumps([size, dataclasses.asdict(variant)]))
        works[name] = process.wait()
    return by_turns(works, rounds)


def main(argv: Sequence[str]) -> None:
  """Measures and prints; or, as a child, trains when it is told to."""
  if argv[1:2] == ['--serve']:
    study = command_line.parse([argv[0], '--config=configs/principles.py']).study

    def prepare(line: str) -> Training:
      size, variant = json.loads(line)
      return training(study, size, Variant(**variant))

    serve(prepare)
    return
  table = Table('size', 'changed', 'times the tokens/s as shipped: min / median / max')
  for size in argv[1:] or ('100k', '1m', '3m'):
    seconds = measure(size)
    for name, own in seconds.items():
      if name != SHIPPED:
        table.add_row(size, name, str(ratio(seconds[SHIPPED], own)))
  Console().print(table)


if __name__ == '__main__':
  main(sys.argv)
