"""A stage small enough to train in a test, and data that are a function of the step alone."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from whyjax.config import DeviceConfig, ModelConfig, StageConfig
from whyjax.training import loop

MODEL = ModelConfig(
  width=16,
  layers=2,
  heads=2,
  kv_heads=1,
  head_dim=8,
  mlp_width=24,
  tied_embeddings=False,
  shared_layers=1,
  rope_theta=1e4,
  compute_dtype='float32',
  base_width=0,
)
STAGE = StageConfig(
  updates=20,
  batch_rows=4,
  accumulation=1,
  optimizer='adamw',
  learning_rate=1e-2,
  schedule='cosine',
  warmup=0.1,
  decay=0.0,
  beta2=0.98,
  weight_decay=0.1,
  clip_norm=1.0,
  checkpoint_every=6,
  probes=(),
)
DEVICE = DeviceConfig(
  platform='cpu',
  host_devices=8,
  mesh_replica=2,
  mesh_data=1,
  mesh_model=1,
  fsdp=True,
  tokens_at_once=0,
  replica_loop=True,
  steps_per_dispatch=4,
  scan_layers=True,
  remat=False,
  compile_cache='',
  step_timeout=0.0,
)
VOCABULARY, LENGTH = 32, 12


@dataclasses.dataclass
class Rows:
  """Random rows of two segments and some padding, with uneven weights; each replica has its own."""

  replicas: int = 4
  first: int = 0  # number of the first replica
  batch_rows: int = STAGE.batch_rows
  hash: str = 'rows'
  rows: int = 1000

  def batch(self, step: int, part: loop.Part = loop.WHOLE) -> dict[str, np.ndarray]:
    replicas, rows = part
    numbers = range(self.first, self.first + self.replicas)[replicas]
    batches = [self._one(step, r) for r in numbers]
    return {name: np.stack([b[name][rows] for b in batches]) for name in batches[0]}

  def _one(self, step: int, replica: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([step, replica])
    shape = (self.batch_rows, LENGTH)
    segments = np.broadcast_to(np.repeat([1, 2, 0], [5, 5, 2]), shape)
    positions = np.broadcast_to(np.concatenate([np.arange(5), np.arange(5), np.arange(2)]), shape)
    weights = rng.integers(0, 3, shape) * rng.integers(0, 2, (self.batch_rows, 1))
    weights[:, [0, 5, 10, 11]] = 0
    weights[0, 1] = 1
    return {
      'tokens': rng.integers(0, VOCABULARY, shape).astype(np.int32),
      'segments': segments.astype(np.int32),
      'positions': positions.astype(np.int32),
      'weights': weights.astype(np.float32),
    }


def train(directory, **changes) -> loop.TrainResult:
  """Trains the tiny stage, with any argument of loop.train changed."""
  arguments = dict(
    name='align/reason',
    model=MODEL,
    vocabulary=VOCABULARY,
    stage=STAGE,
    device=DEVICE,
    data=Rows(),
    params=None,
    seeds=[1, 2, 3, 4],
    directory=directory,
    meta={'arm': 'reason'},
    log=lambda line: None,
  )
  return loop.train(**arguments | changes)


def equal(a, b) -> bool:
  """Whether two trees are equal to the bit."""
  return all(
    np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


@pytest.fixture(scope='session')
def tiny() -> types.SimpleNamespace:
  return types.SimpleNamespace(
    model=MODEL,
    stage=STAGE,
    device=DEVICE,
    vocabulary=VOCABULARY,
    length=LENGTH,
    Rows=Rows,
    train=train,
    equal=equal,
  )


@pytest.fixture(scope='session')
def finished(tmp_path_factory) -> types.SimpleNamespace:
  """A stage that was trained without interruption: its directory and its result, params on the
  host."""
  directory = tmp_path_factory.mktemp('finished')
  result = train(directory)
  return types.SimpleNamespace(
    directory=directory, result=dataclasses.replace(result, params=jax.device_get(result.params))
  )


@pytest.fixture(scope='session')
def quick_jit():
  """jax.jit that compiles in half the time, for what only has to agree within rounding."""
  return lambda fn: jax.jit(fn, compiler_options={'xla_backend_optimization_level': 0})
