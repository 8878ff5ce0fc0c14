"""The loss, exact accumulation, and one golden step."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from whyjax.model import transformer
from whyjax.training.mesh import AXES
from whyjax.training.optimizer import make_optimizer
from whyjax.training.step import loss_fn, make_dispatch, make_step, micro_batches


@pytest.fixture(scope='module')
def params(tiny):
  shapes = jax.eval_shape(lambda: transformer.init(tiny.model, tiny.vocabulary, jax.random.key(0)))
  rng = np.random.default_rng(0)

  def leaf(path, p):  # norms around one, all else around zero
    return jnp.asarray(0.2 * rng.normal(size=p.shape) + (path[-1].key == 'gain'), jnp.float32)

  return jax.tree_util.tree_map_with_path(leaf, shapes)


@pytest.fixture
def batch(tiny):
  return {name: x[0] for name, x in tiny.Rows(1, batch_rows=8).batch(0).items()}


@pytest.fixture(scope='module')
def loss(tiny, quick_jit):
  return quick_jit(lambda params, batch: loss_fn(tiny.model, params, batch))


def test_loss_is_that_of_weighted_next_tokens_within_segments(tiny, params, batch, loss, quick_jit):
  forward = quick_jit(functools.partial(transformer.forward, tiny.model))
  logits = forward(params, *(batch[name] for name in ('tokens', 'positions', 'segments')))
  log_p = np.asarray(jax.nn.log_softmax(logits))
  nll = weight = 0.0
  for b, t in np.ndindex(batch['tokens'].shape):
    if t and batch['segments'][b, t] == batch['segments'][b, t - 1]:
      nll -= batch['weights'][b, t] * log_p[b, t - 1, batch['tokens'][b, t]]
      weight += batch['weights'][b, t]
  np.testing.assert_allclose(loss(params, batch), (nll, weight), rtol=1e-5)


def test_no_loss_crosses_into_a_segment(params, batch, loss):
  crossing = batch['weights'].copy()
  crossing[:, [0, 5, 10]] = 7.0  # the first token of each segment
  assert loss(params, batch | {'weights': crossing}) == loss(params, batch)


def test_accumulation_over_uneven_masks_equals_one_batch(tiny, params, batch, loss, quick_jit):
  mask = batch['segments'] * (batch['positions'] > 0)
  batch['weights'] = (mask * np.array([1, 2, 9, 5, 1, 30, 0, 0])[:, None]).astype(np.float32)
  results = []
  for accumulation, at_once in ((1, 0), (2, 0), (4, 0), (1, 2 * tiny.length)):
    stage = dataclasses.replace(tiny.stage, batch_rows=8, accumulation=accumulation)
    device = dataclasses.replace(tiny.device, tokens_at_once=at_once)
    step = quick_jit(make_step(tiny.model, stage, device))
    state = (params, make_optimizer(stage).init(params))
    results.append(step(state, batch))
  (_, whole), *split = results
  for (_, opt_state), metrics in split:
    chex.assert_trees_all_close(metrics, whole, rtol=1e-5)
    # Adam's first moment is a tenth of the clipped gradient: of every entry of it.
    chex.assert_trees_all_close(opt_state, results[0][0][1], atol=1e-6)
  # The masks are uneven enough that a mean of means would show.
  rows = np.arange(8)[:, None]
  parts = [batch | {'weights': batch['weights'] * (rows % 4 == i)} for i in range(4)]
  losses = [np.divide(*loss(params, part)) for part in parts]
  assert abs(np.mean(losses) / whole['loss'] - 1) > 1e-3


@pytest.mark.parametrize(
  'accumulation, at_once, data, parts',
  [
    (1, 0, 1, 1),
    (1, 768, 1, 2),  # 8 rows of 96
    (1, 768, 2, 1),
    (4, 768, 2, 4),  # what was asked for is enough
    (1, 200, 1, 8),  # 2 rows, and no remainder
    (1, 50, 2, 8),  # a row of each device is the least
    (2, 50, 8, 2),
  ],
)
def test_a_device_works_on_so_many_tokens_at_once(accumulation, at_once, data, parts):
  mesh = jax.sharding.AbstractMesh((1, data, 1), AXES)
  with jax.sharding.use_abstract_mesh(mesh):
    assert micro_batches(accumulation, at_once, 16, 96) == parts


def test_a_batch_without_weight_teaches_nothing_and_breaks_nothing(tiny, params, batch, quick_jit):
  stage = dataclasses.replace(tiny.stage, batch_rows=8, weight_decay=0.0)
  step = quick_jit(make_step(tiny.model, stage, tiny.device))
  state = (params, make_optimizer(stage).init(params))
  (after, _), metrics = step(state, batch | {'weights': np.zeros_like(batch['weights'])})
  assert metrics == {'loss': 0.0, 'grad_norm': 0.0, 'weight': 0.0}
  assert tiny.equal(after, params)


@pytest.fixture(scope='module')
def dispatch(tiny, quick_jit):
  return quick_jit(make_dispatch(tiny.model, tiny.stage, tiny.device))


def stack(tiny) -> dict:
  batches = [tiny.Rows(1).batch(s) for s in range(tiny.device.steps_per_dispatch)]
  return {name: np.stack([b[name][0] for b in batches]) for name in batches[0]}


def test_golden_steps(tiny, params, dispatch):
  state = (params, make_optimizer(tiny.stage).init(params))
  (after, _), metrics = dispatch(state, stack(tiny), 3)
  np.testing.assert_allclose(metrics['loss'], [3.78363, 3.70664, 4.04566, 0], rtol=1e-4)
  np.testing.assert_allclose(metrics['grad_norm'], [2.86908, 3.38477, 3.66549, 0], rtol=1e-3)
  np.testing.assert_allclose(np.abs(after['layers']['mlp']['down']).sum(), 125.0137, rtol=1e-4)


def test_a_state_that_overflowed_is_seen_though_the_loss_is_finite(tiny, params, dispatch):
  batches = stack(tiny)
  unused = np.setdiff1d(np.arange(tiny.vocabulary), batches['tokens'][0])[0]
  poisoned = params | {'embedding': params['embedding'].at[unused].set(jnp.inf)}
  optimizer = make_optimizer(tiny.stage)
  _, metrics = dispatch((poisoned, optimizer.init(poisoned)), batches, 1)
  assert np.isfinite(metrics['loss']).all() and np.isfinite(metrics['grad_norm']).all()
  assert not metrics['finite']
  _, metrics = dispatch((params, optimizer.init(params)), batches, 1)
  assert metrics['finite']
