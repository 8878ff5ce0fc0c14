"""The training loop of a stage: where it starts, what it does, when it stops, and what it keeps."""

import collections
from collections.abc import Callable, Sequence
import dataclasses
import functools
from pathlib import Path
from typing import Protocol

import jax
import numpy as np

from whyjax.config import DeviceConfig, ModelConfig, StageConfig
from whyjax.corpus.packing import WHOLE, Part
from whyjax.errors import UserError
from whyjax.training import mesh as meshes
from whyjax.training import processes
from whyjax.training.checkpoint import Checkpoints, check_tree, restore_params
from whyjax.training.interrupt import Interrupt, Preempted
from whyjax.training.metrics import Reporter
from whyjax.training.step import TEXT, Method, Program, make_program
from whyjax.training.watchdog import Watchdog


class Data(Protocol):
  """Batches as a pure function of the step, so that a resumed run needs no state of a reader."""

  rows: int
  hash: str

  def batch(self, step: int, part: Part = WHOLE) -> dict[str, np.ndarray]:
    """The batch of update `step` (from 0), as the stage's method wants it, each [R, B, ...]; of it
    the replicas and rows that `part` says."""


class NonFiniteLoss(UserError):
  """Training diverged in some replica; no checkpoint holds a trace of it."""


@dataclasses.dataclass(frozen=True)
class TrainResult:
  """What a finished stage hands on."""

  params: dict  # leaves [R, ...], on the devices
  loss: list[float]  # of the last update, one a replica, nats a unit of loss weight
  reward: list[float]  # the same of what was earned; empty for a stage without reward
  seconds: float  # in steps alone, summed over resumed runs: neither compilation nor checkpoints
  tokens_per_second: float  # of all replicas together, over those seconds


def train(
  *,
  name: str,
  model: ModelConfig,
  vocabulary: int,
  stage: StageConfig,
  device: DeviceConfig,
  data: Data,
  params: dict | None,
  seeds: Sequence[int],
  directory: Path,
  meta: dict,
  log: Callable[[str], None],
  init_from: Path | None = None,
  label: str = '',
  method: Method = TEXT,
) -> TrainResult:
  """Trains R = len(seeds) replicas for `stage.updates` updates, or for what is left of them.

  Starts from the newest checkpoint in its own directory, else from `params`, else from the params
  of the newest checkpoint in `init_from`, else from scratch. All but the first begin at update 0
  with a fresh optimizer.

  Args:
    name: of the stage, for people.
    model: shape of the transformer.
    vocabulary: number of tokens.
    stage: how it learns.
    device: how the program runs.
    data: batches of all replicas.
    params: leaves [R, ...] to begin with, on host or devices (they are copied), or None.
    seeds: of the initial parameters, one a replica, in [0, 2**32).
    directory: of the stage; gets checkpoints/, metrics.jsonl and tensorboard/.
    meta: provenance, JSON; every checkpoint holds it.
    log: takes one line of text.
    init_from: a directory of checkpoints of R replicas, or None.
    label: of the progress line, before the name: which of how many stages this is.
    method: how it learns: from text, or from its own acts.

  Raises:
    UserError: a size does not fit the devices; a checkpoint is damaged or of something else.
    NonFiniteLoss: a replica diverged.
    Preempted: SIGTERM or Ctrl-C came; the state is saved.
  """
  # The program: stages of equal shape share it. No dispatch goes beyond a checkpoint.
  most = min(device.steps_per_dispatch, stage.checkpoint_every, stage.updates)
  device = dataclasses.replace(device, steps_per_dispatch=most)
  replicas = len(seeds)
  mesh = meshes.make_mesh(device, replicas, stage.batch_rows // stage.accumulation)
  row_length = method.row_length(data.batch(0))
  program = make_program(model, vocabulary, stage, device, mesh, replicas, row_length, method)
  identity = {'seeds': [int(seed) for seed in seeds], 'data': data.hash}

  with (
    Interrupt() as interrupt,
    Checkpoints(directory / 'checkpoints', keep=stage.probes) as checkpoints,
  ):
    # Where to start.
    saved = {'step': 0, 'seconds': 0.0, 'loss': [], 'reward': []}
    if checkpoints.latest() is None:
      state = _begin(program, name, params, init_from, seeds, log)
    else:
      state, saved = _resume(program, checkpoints, stage, identity)
      log(f'{name}: resumes at update {saved["step"]} of {stage.updates}')
    step, dispatch = saved['step'], program.compiled

    tokens = replicas * method.rows(stage) * row_length  # of one update
    with (
      Reporter(directory, name, stage, tokens, saved, label) as reporter,
      Watchdog(device.step_timeout, name) as watchdog,
    ):
      while step < stage.updates and not interrupt.number:
        # Up to the next checkpoint the devices always have work: the host prepares a dispatch while
        # the one before runs, and reads the metrics of that one only when the next is under way.
        due = step + stage.checkpoint_every - step % stage.checkpoint_every
        goal = min(due, stage.updates, *(probe for probe in stage.probes if probe > step))
        under_way = collections.deque()
        reporter.start_clock()
        watchdog.seen()
        while step < goal and not interrupt.poll():
          end = min(step + device.steps_per_dispatch, goal)
          stack = _stack(data, step, end, program.batch)
          state, metrics = dispatch(state, stack, np.int32(end - step))
          under_way.append((step, end, metrics))
          step = end
          if len(under_way) > 1:
            _report(reporter, checkpoints, *under_way.popleft())
            watchdog.seen()
        # All that came before a checkpoint is known to be finite before it is written.
        while under_way:
          _report(reporter, checkpoints, *under_way.popleft())
          watchdog.seen()
        watchdog.rest()
        reporter.flush()
        checkpoints.save(step, *state, reporter.saved | identity | {'name': name, 'meta': meta})

  if interrupt.number:
    raise Preempted(
      f'{name}: stopped and saved at update {step} of {stage.updates}', interrupt.number
    )
  last = reporter.saved
  speed = stage.updates * tokens / last['seconds']
  return TrainResult(state[0], last['loss'], last['reward'], last['seconds'], speed)


def _begin(
  program: Program, name: str, params, init_from: Path | None, seeds: Sequence[int], log
) -> tuple:
  """(params, opt_state) before the first update: params given or fresh, the optimizer fresh."""
  wanted = program.state[0]
  if params is None and init_from is not None:
    params = restore_params(init_from)
  if params is None:
    for seed in seeds:
      if not 0 <= seed < 2**32:  # JAX would cut a larger one without a word: equal replicas
        raise UserError(f'stage {name}: seed {seed}: must be at least 0 and less than 2**32')
    log(f'{name}: starts from scratch')
    params = program.init_params(jax.vmap(jax.random.key)(np.array(seeds, np.uint32)))
  else:
    check_tree(params, wanted, f'stage {name}: params handed on')
    log(f'{name}: starts from params handed on')
    # Always a copy: a dispatch takes the memory of its state, and stages may share a parent.
    params = jax.device_put(params, jax.tree.map(lambda x: x.sharding, wanted), may_alias=False)
  return params, program.init_optimizer(params)


def _resume(
  program: Program, checkpoints: Checkpoints, stage: StageConfig, identity: dict
) -> tuple:
  """(params, opt_state) and meta of the newest checkpoint, if it is one of this stage."""
  *state, saved = checkpoints.restore(*program.state)
  where = checkpoints.newest()
  for field, value in identity.items():
    if saved[field] != value:
      raise UserError(f'checkpoint {where}: its {field} = {saved[field]!r}; here it is {value!r}')
  if saved['step'] > stage.updates:
    raise UserError(f'checkpoint {where}: is past the updates = {stage.updates} of this stage')
  return tuple(state), saved


def _stack(data: Data, begin: int, end: int, like: dict) -> dict:
  """The batches of updates [begin, end), stacked [R, K, B, ...] on the devices; the last fills up.

  A process reads only what its own devices work on.
  """

  @functools.cache
  def read(replicas: tuple, rows: tuple) -> dict[str, np.ndarray]:
    batches = [data.batch(step, (slice(*replicas), slice(*rows))) for step in range(begin, end)]
    batches += batches[-1:] * (next(iter(like.values())).shape[1] - len(batches))
    return {name: np.stack([b[name] for b in batches], axis=1) for name in like}

  def piece(name: str, index: tuple[slice, ...]) -> np.ndarray:
    replicas, _, rows = index[:3]
    return read((replicas.start, replicas.stop), (rows.start, rows.stop))[name]

  return {
    name: jax.make_array_from_callback(x.shape, x.sharding, functools.partial(piece, name))
    for name, x in like.items()
  }


def _report(
  reporter: Reporter, checkpoints: Checkpoints, begin: int, end: int, metrics: dict
) -> None:
  """Waits for the updates (begin, end] and reports them; stops where a replica diverged."""
  metrics = processes.fetch(metrics)
  state_finite_R = metrics.pop('finite')
  metrics = {name: x_RxK[:, : end - begin] for name, x_RxK in metrics.items()}
  faults = [
    (begin + update + 1, replica, f'{what} became {metrics[key][replica, update]}')
    for key, what in (('loss', 'loss'), ('grad_norm', 'gradient norm'))
    for replica, update in np.argwhere(~np.isfinite(metrics[key]))
  ]
  faults += [(end, replica, 'parameters overflowed') for (replica,) in np.argwhere(~state_finite_R)]
  if faults:
    step, replica, what = min(faults, key=lambda fault: fault[0])
    last = checkpoints.latest()
    last = 'none' if last is None else f'step {last}'
    raise NonFiniteLoss(
      f'stage {reporter.name}: {what} at step {step} (replica {replica}); '
      f'last finite checkpoint: {last}'
    )
  reporter.report(end, metrics)
