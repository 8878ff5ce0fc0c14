"""A study's programs compiled for devices that are not here: does it fit, and what is exchanged?"""

from collections import defaultdict
from collections.abc import Iterator
import dataclasses
import math
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from whyjax.config import StudyConfig
from whyjax.corpus.vocabulary import vocabulary
from whyjax.errors import UserError
from whyjax.evals.scoring import Scorer
from whyjax.model import sizes
from whyjax.study import graph
from whyjax.study.graph import Stage
from whyjax.training import aot, hlo, step
from whyjax.training import mesh as meshes
from whyjax.training.reinforce import Reinforcement


@dataclasses.dataclass(frozen=True)
class Job:
  """One program of a study.

  Attributes:
    name: the first stage that needs it, or what it does with the models of that stage.
    mesh: on which it runs.
    flops: of one call or update on one device, by `sizes.flops_per_token`.
    step: what its outermost loop goes through.
    function, arguments: what is compiled.
  """

  name: str
  mesh: Any
  flops: float
  step: str
  function: Any
  arguments: tuple


def show(study: StudyConfig, name: str, console: Console) -> None:
  """Prints what every program of a study asks of the devices of a target. Nothing runs.

  Raises:
    UserError: the target is unknown or has no compiler here, the study is for another platform, or
      its sizes do not fit the devices.
  """
  target = aot.describe(name)
  if study.device.platform != target.platform:
    raise UserError(
      f'config.device.platform = {study.device.platform!r}: must be {target.platform!r} for '
      f'--target={name}; give the variant, as in --config=FILE:{target.platform}'
    )
  found = [(job, target.compile(job.function, *job.arguments)) for job in jobs(study, target)]
  console.print(_table(study, target, found))
  if target.platform == 'tpu':
    console.print(_exchanges(found))
  else:
    line = 'lowered for CUDA, not compiled: there is no compiler for GPUs where there is no GPU'
    console.print(line, style='dim')


def jobs(study: StudyConfig, target: aot.Target) -> Iterator[Job]:
  """The programs of a study, those of equal shape once: training, reinforcement, evaluation."""
  seen = set()
  for stage in graph.stages(study):
    if not stage.trains:
      continue
    rows = stage.training.batch_rows // stage.training.accumulation
    mesh = target.mesh(stage.study.device, len(stage.replicas), rows)
    program = step.make_program(
      stage.model,
      vocabulary(stage.study.world).size,
      stage.training,
      stage.study.device,
      mesh,
      len(stage.replicas),
      stage.row_length,
      _method(stage),
    )
    shapes = str((program.state, program.batch, stage.training.accumulation, bool(stage.reward)))
    if shapes in seen:
      continue
    seen.add(shapes)
    # Devices of the axis SPARE repeat the work of others.
    count = math.prod(mesh.shape[axis] for axis in meshes.AXES)
    a_token = sizes.flops_per_token(
      stage.model, vocabulary(stage.study.world).size, stage.row_length
    )
    an_update = stage.tokens / stage.training.updates * len(stage.replicas) * a_token / count
    yield Job(stage.name, mesh, an_update, 'an update', program.dispatch, program.arguments)
    params = program.state[0]
    if str(params) in seen:
      continue
    seen.add(str(params))
    scorer = Scorer(stage.model, mesh, stage.study.device)
    evals = stage.study.evals
    asked = scorer.programs(params, evals.battery_items, evals.max_new_tokens)
    for what, (function, arguments) in asked.items():
      width = arguments[1][0].shape[-1] + (evals.max_new_tokens if what == 'decoding' else 0)
      read = len(stage.replicas) * evals.battery_items * width
      flops = read * a_token / 3 / count
      yield Job(f'{what}, {stage.name}', mesh, flops, 'a token', function, arguments)


def _method(stage: Stage) -> step.Method:
  if stage.reward:
    return Reinforcement(stage.study.reinforcement, stage.study.world)
  return step.TEXT


def _table(study: StudyConfig, target: aot.Target, found) -> Table:
  table = Table(
    title=f'{study.name} on {target.name}: {target.count} devices',
    title_justify='left',
    box=box.SIMPLE,
    padding=(0, 1, 0, 0),
  )
  table.add_column('program', overflow='fold')
  for name in ('mesh', 'FLOPs/device', 'resident', 'temporary', 'of memory', 'exchanged', 's'):
    table.add_column(name, justify='right')
  for job, c in found:
    mesh = 'x'.join(map(str, job.mesh.shape.values()))
    total = c.resident + c.temporary
    if c.fault:
      cells = ['-', '-', f'[bold reverse red] does not fit: {c.fault} [/]', '-']
    elif target.memory:
      share = f'{total / target.memory:.1%}'
      cells = [_bytes(c.resident), _bytes(c.temporary), share, _exchanged(c.collectives)]
    else:
      cells = ['?'] * 4
    table.add_row(job.name, mesh, f'{job.flops:.1e}', *cells, f'{c.seconds:.0f}')
  return table


def _exchanged(collectives) -> str:
  return _bytes(sum(c.bytes for c in collectives)) if collectives else 'nothing'


def _exchanges(found) -> Table:
  """The collectives of all programs, those of one kind, group and place together."""
  table = Table(title='Exchanged between devices', title_justify='left', box=box.SIMPLE)
  for name in ('program', 'operation', 'times', 'bytes', 'devices', 'per'):
    table.add_column(name, justify='left' if name in ('program', 'operation') else 'right')
  for job, compiled in found:
    groups: dict[tuple, list[hlo.Collective]] = defaultdict(list)
    for c in compiled.collectives:
      groups[c.loops, c.kind, c.group].append(c)
    for (loops, kind, group), members in sorted(groups.items()):
      size = _bytes(sum(c.bytes for c in members))
      where = (('once', job.step, 'a layer') + ('inner loop',) * loops)[loops]
      table.add_row(job.name, kind, str(len(members)), size, str(group or 'all'), where)
  return table


def _bytes(count: float) -> str:
  """1234567 -> 1.2 MB."""
  for size, unit in ((2**30, 'GB'), (2**20, 'MB'), (2**10, 'kB')):
    if count >= size:
      return f'{count / size:.1f} {unit}'
  return f'{count:.0f} B'
