"""The training step of one replica, and the program that runs many steps of all replicas."""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Protocol

import jax
import jax.numpy as jnp
import optax

from whyjax.config import DeviceConfig, ModelConfig, StageConfig
from whyjax.model import transformer
from whyjax.training import mesh as meshes
from whyjax.training.optimizer import make_optimizer

BATCH = {'tokens': jnp.int32, 'segments': jnp.int32, 'positions': jnp.int32, 'weights': jnp.float32}
METRICS = ('loss', 'grad_norm', 'weight')


class Method(Protocol):
  """How a stage learns from what: its step, and the batches that the step takes. Hashable."""

  metrics: tuple[str, ...]  # of a step: METRICS, and what else there is to tell

  def batch(self, stage: StageConfig, row_length: int) -> Mapping[str, jax.ShapeDtypeStruct]:
    """The batch of one update of one replica; axis 0 of each array is split over devices."""

  def row_length(self, batch: Mapping[str, jax.Array]) -> int:
    """Tokens of a row, padding included; `batch` is of all replicas."""

  def rows(self, stage: StageConfig) -> int:
    """Rows that one update of one replica learns from."""

  def init(self, model: ModelConfig, stage: StageConfig) -> Callable:
    """params -> the rest of the state, before the first update."""

  def make_step(self, model: ModelConfig, stage: StageConfig, device: DeviceConfig) -> Callable:
    """step((params, rest), batch) -> ((params, rest), metrics): one update of one replica."""


@dataclasses.dataclass(frozen=True)
class Text:
  """Method of the stages that read packed rows of text."""

  metrics = METRICS

  def batch(self, stage: StageConfig, row_length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Tokens, segments, positions, weights."""
    shape = (stage.batch_rows, row_length)
    return {name: jax.ShapeDtypeStruct(shape, dtype) for name, dtype in BATCH.items()}

  def row_length(self, batch: Mapping[str, jax.Array]) -> int:
    """Tokens of a packed row."""
    return batch['tokens'].shape[-1]

  def rows(self, stage: StageConfig) -> int:
    """Those of the batch."""
    return stage.batch_rows

  def init(self, model: ModelConfig, stage: StageConfig) -> Callable:
    """The state of the optimizer."""
    return make_optimizer(stage, model.growth).init

  def make_step(self, model: ModelConfig, stage: StageConfig, device: DeviceConfig) -> Callable:
    """See make_step of this module."""
    return make_step(model, stage, device)


TEXT = Text()


def loss_fn(
  model: ModelConfig, params: dict, batch: dict, **options
) -> tuple[jax.Array, jax.Array]:
  """Sum over a batch of the weighted negative log-likelihood (nats), and the sum of the weights.

  Args:
    model: shape of the transformer.
    params: of one replica.
    batch: tokens, segments, positions, weights, each [B, T]. A token is predicted from those before
      it in its segment, and counts with its weight; the first of a segment does not count.
    **options: `scan_layers` and `remat` of the model.
  """
  logits_BxTxV = transformer.forward(
    model, params, batch['tokens'], batch['positions'], batch['segments'], **options
  )
  # The targets move one place to the left, so that the far larger logits need not be cut.
  target_BxT, segment_BxT, weight_BxT = (
    jnp.pad(batch[field][:, 1:], ((0, 0), (0, 1))) for field in ('tokens', 'segments', 'weights')
  )
  weight_BxT = jnp.where(segment_BxT == batch['segments'], weight_BxT, 0.0)
  nll_BxT = cross_entropy(logits_BxTxV, target_BxT)
  return jnp.sum(nll_BxT * weight_BxT), jnp.sum(weight_BxT)


def cross_entropy(logits_BxTxV: jax.Array, target_BxT: jax.Array) -> jax.Array:
  """Negative log-likelihood of each target, nats; any number of axes may stand before V.

  The target's logit is picked by a mask, not by an index: then a vocabulary that is split over
  devices needs no gather, and the gradient no scatter.
  """
  hit_BxTxV = target_BxT[..., None] == jnp.arange(logits_BxTxV.shape[-1])
  picked_BxT = jnp.sum(jnp.where(hit_BxTxV, logits_BxTxV, 0.0), axis=-1)
  return jax.nn.logsumexp(logits_BxTxV, axis=-1) - picked_BxT


def split(batch: Mapping, parts: int) -> dict:
  """Each leaf [B, ...] as [parts, B / parts, ...]."""

  def leaf(x):
    # Rows of a part lie `parts` apart: so each part spreads over the whole data axis.
    return x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)

  return jax.tree.map(leaf, batch)


def micro_batches(accumulation: int, tokens_at_once: int, rows: int, row_length: int) -> int:
  """Parts of a batch that take turns: as many as asked for, or the fewest more that leave a device
  so many tokens at once (0: any). The rows of a part still spread over the whole data axis."""
  mesh = jax.sharding.get_abstract_mesh()
  data = 1 if mesh.empty else mesh.shape['data']
  allowed = [n for n in range(accumulation, rows + 1) if rows % (n * data) == 0]
  fit = [n for n in allowed if rows * row_length <= tokens_at_once * n * data]
  if not tokens_at_once or not allowed:
    return accumulation
  return fit[0] if fit else allowed[-1]


def accumulate(gradient: Callable, params: dict, batch: Mapping, parts: int):
  """Sum of `gradient(params, part)`, a tree, over `parts` parts of a batch, leaves [B, ...]."""
  if parts == 1:
    return gradient(params, batch)
  pieces = split(batch, parts)

  def add(sums, piece):
    return jax.tree.map(jnp.add, sums, gradient(params, piece)), None

  first = jax.tree.map(lambda x: x[0], pieces)
  shapes = jax.eval_shape(gradient, params, first)
  return jax.lax.scan(add, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), pieces)[0]


def make_step(model: ModelConfig, stage: StageConfig, device: DeviceConfig) -> Callable:
  """step((params, opt_state), batch) -> ((params, opt_state), metrics): one update of one replica.

  Micro-batches add up summed losses, weights and gradients, which are divided once, by the weight
  of the whole batch: however unevenly the weights fall, accumulation changes nothing but rounding.

  Metrics are scalars: loss (nats a unit of weight), grad_norm (before clipping), weight (the sum).
  """
  optimizer = make_optimizer(stage, model.growth)

  @functools.partial(jax.value_and_grad, has_aux=True)
  def gradient(params, batch):
    params = meshes.gathered(params)
    return loss_fn(model, params, batch, scan_layers=device.scan_layers, remat=device.remat)

  def step(state, batch):
    params, opt_state = state
    shape = batch['tokens'].shape
    parts = micro_batches(stage.accumulation, device.tokens_at_once, *shape)
    (nll, weight), grads = accumulate(gradient, params, batch, parts)
    total = jnp.where(weight > 0, weight, 1.0)  # a batch with nothing to learn has loss 0, not 0/0
    grads = jax.tree.map(lambda g: g / total, grads)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    metrics = {'loss': nll / total, 'grad_norm': optax.tree.norm(grads), 'weight': weight}
    return (optax.apply_updates(params, updates), opt_state), metrics

  return step


def make_dispatch(
  model: ModelConfig, stage: StageConfig, device: DeviceConfig, method: Method = TEXT
) -> Callable:
  """dispatch(state, stack, n) -> (state, metrics): n steps of one replica on a stack [K, B, ...].

  n is unknown to the compiler: one program serves every n up to K, and the arithmetic of a step
  cannot depend on how steps are grouped (a loop of known length may be unrolled, and then rounds
  otherwise).

  Metrics are those of the steps, each [K], and `finite`: no nan or inf is in the state at the end.
  """
  step = method.make_step(model, stage, device)

  def dispatch(state, stack, n):
    def body(i, carry):
      state, metrics = carry
      state, new = step(state, jax.tree.map(lambda x: x[i], stack))
      return state, jax.tree.map(lambda old, x: old.at[i].set(x), metrics, new)

    zeros = {name: jnp.zeros(device.steps_per_dispatch) for name in method.metrics}
    state, metrics = jax.lax.fori_loop(0, n, body, (state, zeros))
    finite = jnp.array([jnp.isfinite(x).all() for x in jax.tree.leaves(state)]).all()
    return state, metrics | {'finite': finite}

  return dispatch


@dataclasses.dataclass(frozen=True)
class Program:
  """What runs on the devices for one kind of stage; every array has a leading replica axis R."""

  state: tuple  # (params, opt_state) as ShapeDtypeStructs with their shardings
  batch: dict  # the same of a stack of batches, each [R, K, B, ...]
  init_params: Callable  # keys [R] -> params
  init_optimizer: Callable  # params -> opt_state
  dispatch: Callable  # (state, stack, n) -> (state, metrics); jitted; takes the memory of the state

  @functools.cached_property
  def compiled(self) -> jax.stages.Compiled:
    """`dispatch`, compiled once."""
    return self.dispatch.lower(*self.arguments).compile()

  @property
  def arguments(self) -> tuple:
    """Shapes of the arguments of `dispatch`."""
    return self.state, self.batch, jax.ShapeDtypeStruct((), jnp.int32)


@functools.lru_cache(maxsize=8)
def make_program(
  model: ModelConfig,
  vocabulary: int,
  stage: StageConfig,
  device: DeviceConfig,
  mesh: jax.sharding.Mesh,
  replicas: int,
  row_length: int,
  method: Method = TEXT,
) -> Program:
  """The program of a stage; stages of equal shape in one process share it."""

  def mapped(fn):
    return meshes.map_replicas(fn, mesh, device.replica_loop)

  def place(x, sharding):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

  def on_mesh(tree):
    return jax.tree.map(place, tree, meshes.param_sharding(mesh, tree, device.fsdp))

  init = mapped(functools.partial(transformer.init, model, vocabulary))
  params = on_mesh(jax.eval_shape(lambda: init(jax.random.split(jax.random.key(0), replicas))))
  init_optimizer = mapped(method.init(model, stage))
  opt_state = on_mesh(jax.eval_shape(init_optimizer, params))
  state = (params, opt_state)

  stack = {
    name: jax.ShapeDtypeStruct((replicas, device.steps_per_dispatch, *x.shape), x.dtype)
    for name, x in method.batch(stage, row_length).items()
  }
  batch = jax.tree.map(lambda x: place(x, meshes.batch_sharding(mesh)), stack)

  one = make_dispatch(model, stage, device, method)

  def dispatch(state, stack, n):
    return mapped(lambda state, stack: one(state, stack, n))(state, stack)

  # Outputs are told their shardings: optimizer zeros, for one, do not inherit them.
  placed = jax.tree.map(lambda x: x.sharding, state)
  return Program(
    state=state,
    batch=batch,
    init_params=jax.jit(init, out_shardings=placed[0]),
    init_optimizer=jax.jit(init_optimizer, out_shardings=placed[1]),
    dispatch=jax.jit(dispatch, donate_argnums=0, out_shardings=(placed, None)),
  )
