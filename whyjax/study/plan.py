"""A study before any compute: what each stage costs, what is done, how long the rest takes."""

from collections.abc import Sequence
import dataclasses
from pathlib import Path
import time

from rich import box
from rich.console import Console
from rich.table import Table

from whyjax.config import StudyConfig
from whyjax.corpus.vocabulary import vocabulary
from whyjax.errors import UserError
from whyjax.model import sizes
from whyjax.study import cache, graph
from whyjax.study import workdir as workdirs
from whyjax.study.graph import Stage

# Speed of a training step beside that of a large matmul on the device. CPU: as the main job ran on
# two cores (width 64); GPU and TPU: assumed.
EFFICIENCY = {'cpu': 0.25, 'gpu': 0.3, 'tpu': 0.3}
_PROMPT = 64  # tokens that a prompt of a battery is padded to
_SIDE = {'cpu': 1024, 'gpu': 8192, 'tpu': 8192}  # of the matmul that is measured


@dataclasses.dataclass(frozen=True)
class Cost:
  """What one stage asks for, of all its replicas together.

  Attributes:
    tokens, flops: of training.
    eval_flops: of its evaluation.
    seconds, eval_seconds: as measured; None before it is finished.
    state: for people.
  """

  tokens: int
  flops: float
  eval_flops: float
  seconds: float | None
  eval_seconds: float | None
  state: str

  @property
  def is_done(self) -> bool:
    """Whether there is nothing left to do."""
    return self.seconds is not None and self.eval_seconds is not None

  def estimate(self, speed: float, eval_speed: float) -> float:
    """Seconds that the stage takes, or took, at these speeds in FLOP/s."""
    training = self.flops / speed if self.seconds is None else self.seconds
    evals = self.eval_flops / eval_speed if self.eval_seconds is None else self.eval_seconds
    return training + evals


def show(study: StudyConfig, workdir: Path, console: Console) -> None:
  """Prints the plan. Nothing is written."""
  stages = graph.stages(study)
  workdirs.check(workdir, study.name)
  found = [cost(stage, workdir) for stage in stages]
  speeds, basis = _speeds(study, found)
  table = Table(
    title=f'{study.name}: {study.question}',
    caption=basis,
    title_justify='left',
    caption_justify='left',
    box=box.SIMPLE,
    padding=(0, 1, 0, 0),
  )
  table.add_column('stage', overflow='fold')
  for name in ('replicas', 'params', 'updates', 'tokens', 'FLOPs', 'minutes'):
    table.add_column(name, justify='right')
  table.add_column('state')
  left = 0.0
  for stage, c in zip(stages, found, strict=True):
    seconds = c.estimate(*speeds) if speeds else None
    left += 0.0 if seconds is None or c.is_done else seconds
    table.add_row(
      stage.name,
      str(len(stage.replicas)),
      _short(sizes.non_embedding_parameters(stage.model)),
      str(stage.training.updates if stage.trains else 0),
      _short(c.tokens),
      f'{c.flops:.1e}',
      '?' if seconds is None else f'{seconds / 60:.1f}',
      c.state,
    )
  table.add_section()
  to_do = [c for c in found if not c.is_done]
  table.add_row(
    'left',
    '',
    '',
    '',
    _short(sum(c.tokens for c in to_do)),
    f'{sum(c.flops for c in to_do):.1e}',
    f'{left / 60:.1f}' if speeds else '?',
    f'{len(to_do)} of {len(found)} stages',
  )
  console.print(table)


def cost(stage: Stage, workdir: Path) -> Cost:
  """The cost of a stage; reads the workdir, computes nothing."""
  if not stage.trains:
    return Cost(0, 0.0, 0.0, 0.0, 0.0, 'as pretrained')
  study = stage.study
  tokens = stage.tokens * len(stage.replicas)
  flops = sizes.flops_per_token(stage.model, vocabulary(study.world).size, stage.row_length)
  # An item is read twice when forced, and once for each answer; reading is a third of training.
  answers = 1 + study.evals.samples
  batteries = sum(len(stage.asked(at).evals.batteries) for at in stage.evaluated_after)
  read = (
    study.evals.battery_items
    * batteries
    * ((2 + answers) * _PROMPT + answers * study.evals.max_new_tokens)
  )
  record, evals = cache.trained(stage, workdir), cache.evaluated(stage, workdir)
  if record is None:
    state = 'interrupted' if stage.directory(workdir).exists() else 'to do'
  else:
    state = 'done' if evals else 'to evaluate'
  return Cost(
    tokens,
    tokens * flops * _passes(stage),
    read * len(stage.replicas) * flops / 3,
    record and record['run']['wall'],
    evals and evals[1],
    state,
  )


def _passes(stage: Stage) -> float:
  """How often a token goes through training: of an episode, playing it and asking the parent are
  forward alone, a third each."""
  return stage.study.reinforcement.passes + 2 / 3 if stage.reward else 1.0


def _speeds(study: StudyConfig, found: Sequence[Cost]) -> tuple[tuple[float, float] | None, str]:
  """FLOP/s of training and of evaluation, and what they rest on; None where nothing can be said."""
  done = [c for c in found if c.seconds]
  evaluated = [c for c in found if c.eval_seconds]
  if done and evaluated:
    speed = sum(c.flops for c in done) / sum(c.seconds for c in done)
    eval_speed = sum(c.eval_flops for c in evaluated) / sum(c.eval_seconds for c in evaluated)
    basis = f'minutes rest on the speed of {len(done)} finished stages of this workdir'
    return (speed, eval_speed), basis
  platform = study.device.platform
  try:
    peak = measured_matmul(study)
  except UserError as error:
    return None, f'no minutes: {error}'
  share = EFFICIENCY[platform]
  speed = share * peak
  basis = f'minutes assume {share:.0%} of a matmul measured here now, {peak / 1e9:,.0f} GFLOP/s'
  return (speed, speed), basis


def measured_matmul(study: StudyConfig) -> float:
  """FLOP/s of a square matmul on the study's devices, the best of a few.

  Raises:
    UserError: the study's platform is not there.
  """
  from whyjax.training import mesh  # JAX

  mesh.start_backend(study.device)
  import jax
  import jax.numpy as jnp

  platform = study.device.platform
  side = _SIDE[platform]
  x = jnp.ones((side, side), study.model.compute_dtype)
  multiply = jax.jit(jnp.matmul)
  multiply(x, x).block_until_ready()
  seconds = []
  for _ in range(5):
    begun = time.perf_counter()
    multiply(x, x).block_until_ready()
    seconds.append(time.perf_counter() - begun)
  devices = 1 if platform == 'cpu' else jax.device_count()  # CPU devices share the cores
  return devices * 2 * side**3 / min(seconds)


def _short(number: float) -> str:
  """1234567 -> 1.2M."""
  for size, letter in ((1e9, 'B'), (1e6, 'M'), (1e3, 'k')):
    if number >= size:
      return f'{number / size:.1f}{letter}'
  return str(number)
