"""The training step of one replica, and the program that runs many steps of all replicas."""

from collections.abc import Callable
import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax

from whyjax.config import DeviceConfig, ModelConfig, StageConfig
from whyjax.model import transformer
from whyjax.training import mesh as meshes
from whyjax.training.optimizer import make_optimizer

BATCH = {'tokens': jnp.int32, 'segments': jnp.int32, 'positions': jnp.int32, 'weights': jnp.float32}
METRICS = ('loss', 'grad_norm', 'weight')


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
  nll_BxT = _cross_entropy(logits_BxTxV, target_BxT)
  return jnp.sum(nll_BxT * weight_BxT), jnp.sum(weight_BxT)


def _cross_entropy(logits_BxTxV: jax.Array, target_BxT: jax.Array) -> jax.Array:
  """Negative log-likelihood of each target, nats.

  The target's logit is picked by a mask, not by an index: then a vocabulary that is split over
  devices needs no gather, and the gradient no scatter.
  """
  hit_BxTxV = target_BxT[..., None] == jnp.arange(logits_BxTxV.shape[-1])
  picked_BxT = jnp.sum(jnp.where(hit_BxTxV, logits_BxTxV, 0.0), axis=-1)
  return jax.nn.logsumexp(logits_BxTxV, axis=-1) - picked_BxT


def make_step(model: ModelConfig, stage: StageConfig, device: DeviceConfig) -> Callable:
  """step((params, opt_state), batch) -> ((params, opt_state), metrics): one update of one replica.

  Micro-batches add up summed losses, weights and gradients, which are divided once, by the weight
  of the whole batch: however unevenly the weights fall, accumulation changes nothing but rounding.

  Metrics are scalars: loss (nats a unit of weight), grad_norm (before clipping), weight (the sum).
  """
  optimizer = make_optimizer(stage)

  @functools.partial(jax.value_and_grad, has_aux=True)
  def gradient(params, batch):
    params = meshes.gathered(params)
    return loss_fn(model, params, batch, scan_layers=device.scan_layers, remat=device.remat)

  def accumulate(params, batch):
    if stage.accumulation == 1:
      return gradient(params, batch)

    def split(x_BxT):
      # Rows of a micro-batch lie `accumulation` apart: so each spreads over the whole data axis.
      return x_BxT.reshape(-1, stage.accumulation, x_BxT.shape[-1]).swapaxes(0, 1)

    def add(sums, micro_batch):
      return jax.tree.map(jnp.add, sums, gradient(params, micro_batch)), None

    zeros = ((0.0, 0.0), jax.tree.map(jnp.zeros_like, params))
    return jax.lax.scan(add, zeros, jax.tree.map(split, batch))[0]

  def step(state, batch):
    params, opt_state = state
    (nll, weight), grads = accumulate(params, batch)
    total = jnp.where(weight > 0, weight, 1.0)  # a batch with nothing to learn has loss 0, not 0/0
    grads = jax.tree.map(lambda g: g / total, grads)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    metrics = {'loss': nll / total, 'grad_norm': optax.tree.norm(grads), 'weight': weight}
    return (optax.apply_updates(params, updates), opt_state), metrics

  return step


def make_dispatch(model: ModelConfig, stage: StageConfig, device: DeviceConfig) -> Callable:
  """dispatch(state, stack, n) -> (state, metrics): n steps of one replica on a stack [K, B, T].

  n is unknown to the compiler: one program serves every n up to K, and the arithmetic of a step
  cannot depend on how steps are grouped (a loop of known length may be unrolled, and then rounds
  otherwise).

  Metrics are those of the steps, each [K], and `finite`: no nan or inf is in the state at the end.
  """
  step = make_step(model, stage, device)

  def dispatch(state, stack, n):
    def body(i, carry):
      state, metrics = carry
      state, new = step(state, jax.tree.map(lambda x: x[i], stack))
      return state, jax.tree.map(lambda old, x: old.at[i].set(x), metrics, new)

    zeros = {name: jnp.zeros(device.steps_per_dispatch) for name in METRICS}
    state, metrics = jax.lax.fori_loop(0, n, body, (state, zeros))
    finite = jnp.array([jnp.isfinite(x).all() for x in jax.tree.leaves(state)]).all()
    return state, metrics | {'finite': finite}

  return dispatch


@dataclasses.dataclass(frozen=True)
class Program:
  """What runs on the devices for one kind of stage; every array has a leading replica axis R."""

  state: tuple  # (params, opt_state) as ShapeDtypeStructs with their shardings
  batch: dict  # the same of a stack of batches, each [R, K, B, T]
  init_params: Callable  # keys [R] -> params
  init_optimizer: Callable  # params -> opt_state
  dispatch: Callable  # (state, stack, n) -> (state, metrics); jitted; takes the memory of the state

  @functools.cached_property
  def compiled(self) -> jax.stages.Compiled:
    """`dispatch`, compiled once."""
    n = jax.ShapeDtypeStruct((), jnp.int32)
    return self.dispatch.lower(self.state, self.batch, n).compile()


@functools.lru_cache(maxsize=8)
def make_program(
  model: ModelConfig,
  vocabulary: int,
  stage: StageConfig,
  device: DeviceConfig,
  mesh: jax.sharding.Mesh,
  replicas: int,
  row_length: int,
) -> Program:
  """The program of a stage; stages of equal shape in one process share it."""

  def mapped(fn):
    return meshes.map_replicas(fn, mesh, device.replica_loop)

  def place(x, sharding):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

  def on_mesh(tree):
    return jax.tree.map(place, tree, meshes.param_sharding(mesh, tree))

  init = mapped(functools.partial(transformer.init, model, vocabulary))
  params = on_mesh(jax.eval_shape(lambda: init(jax.random.split(jax.random.key(0), replicas))))
  init_optimizer = mapped(make_optimizer(stage).init)
  opt_state = on_mesh(jax.eval_shape(init_optimizer, params))
  state = (params, opt_state)

  shape = (replicas, device.steps_per_dispatch, stage.batch_rows, row_length)
  stack = {name: jax.ShapeDtypeStruct(shape, dtype) for name, dtype in BATCH.items()}
  batch = jax.tree.map(lambda x: place(x, meshes.batch_sharding(mesh)), stack)

  one = make_dispatch(model, stage, device)

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
