"""Optimizers and learning rates of a stage, for the parameters of one replica."""

import jax
import optax

from whyjax.config import StageConfig


def learning_rate(stage: StageConfig) -> optax.Schedule:
  """Learning rate of update i (from 0): a linear warm-up, then one of

  - constant: the peak;
  - cosine: from the peak to zero along half a cosine;
  - wsd: the peak, then a line to zero over the last `decay` of the updates (Hu et al., 2024).

  No update is wasted on a rate of zero: the warm-up starts above it, and the decay would reach it
  one update after the last.
  """
  peak = stage.learning_rate
  warmup = round(stage.warmup * stage.updates)
  rest = stage.updates - warmup
  decay = round(stage.decay * stage.updates)
  after = {
    'constant': optax.constant_schedule(peak),
    'cosine': optax.cosine_decay_schedule(peak, max(rest, 1)),
    'wsd': optax.linear_schedule(peak, 0.0, decay, transition_begin=rest - decay),
  }[stage.schedule]
  before = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
  return optax.join_schedules([before, after], [warmup])


def hidden(params: dict) -> dict:
  """True for the weight matrices of the layers, False for embedding, output head and norms.

  The matrices of all layers are stacked: they are the leaves with three axes (layer, in, out).
  """
  return jax.tree.map(lambda p: p.ndim == 3, params)


def make_optimizer(stage: StageConfig, growth: float = 1.0) -> optax.GradientTransformation:
  """Clipping by global norm, then AdamW or Muon; only hidden matrices decay.

  A model of `growth` times the width that the learning rate was chosen for takes it by muP's rule
  for Adam (Yang et al. 2022, table 3): divided by the growth for matrices that both sides of which,
  or whose input, grow with the model. What decays a step stays the same.

  Muon (Jordan et al., 2024) orthogonalises the update of each hidden matrix; all else stays with
  AdamW. Its updates are scaled to the size of AdamW's (Liu et al., 2025), so that a learning rate
  means the same in both.
  """
  rate = learning_rate(stage)
  update = optax.chain(
    optax.scale_by_adam(b2=stage.beta2),
    *([] if growth == 1 else [_slower(growth)]),
    optax.add_decayed_weights(stage.weight_decay, hidden),
    optax.scale_by_learning_rate(rate),
  )
  if stage.optimizer == 'muon':
    muon = optax.contrib.muon(
      rate,
      weight_decay=stage.weight_decay,
      consistent_rms=0.2,
      muon_weight_dimension_numbers=_matrices,
    )
    # Not left to optax's muon, which gives the rest Nesterov momentum.
    update = optax.partition({'muon': muon, 'adamw': update}, _labels)
  return optax.chain(optax.clip_by_global_norm(stage.clip_norm), update)


def _slower(growth: float) -> optax.GradientTransformation:
  """Divides the updates of hidden matrices and of the output head by `growth`."""

  def divide(path, update):
    return update / growth if update.ndim == 3 or path[-1].key == 'head' else update

  return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(divide, updates))


def _labels(params):
  return jax.tree.map(lambda is_hidden: 'muon' if is_hidden else 'adamw', hidden(params))


def _matrices(params):
  """Dimension numbers for Muon: layers are a batch of matrices. By default all would be Adam's."""
  return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(-2, -1), params)
