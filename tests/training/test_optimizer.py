"""Learning rates, what decays, and that Muon sees layer-stacked weights as matrices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from whyjax.training.optimizer import learning_rate, make_optimizer


@pytest.fixture
def params():
  rng = np.random.default_rng(0)
  shapes = {
    'embedding': (32, 16),
    'head': (16, 32),
    'layers': {'gain': (2, 16), 'qkv': (2, 16, 40), 'down': (2, 24, 16)},
    'norm': (16,),
  }
  return jax.tree.map(
    lambda s: jnp.asarray(rng.normal(size=s), jnp.float32),
    shapes,
    is_leaf=lambda s: isinstance(s, tuple),
  )


@functools.partial(jax.jit, static_argnums=0)
def first_update(stage, params, grads):
  tx = make_optimizer(stage)
  return tx.update(grads, tx.init(params), params)[0]


def rates(tiny, **changes) -> np.ndarray:
  stage = dataclasses.replace(tiny.stage, updates=100, learning_rate=0.5, **changes)
  return np.asarray(learning_rate(stage)(np.arange(100)))


@pytest.mark.parametrize('schedule', ['constant', 'cosine', 'wsd'])
def test_warmup_rises_in_equal_steps_to_the_peak_and_no_update_is_wasted(tiny, schedule):
  lr = rates(tiny, schedule=schedule, warmup=0.1, decay=0.2)
  np.testing.assert_allclose(lr[:11], 0.5 * np.arange(1, 12) / 11, rtol=1e-5)
  assert lr.min() > 0 and lr.max() <= 0.5 + 1e-6


@pytest.mark.parametrize('schedule', ['constant', 'cosine', 'wsd'])
def test_without_warmup_the_first_update_has_the_peak(tiny, schedule):
  assert rates(tiny, schedule=schedule, warmup=0.0, decay=0.0)[0] == 0.5


def test_constant_stays(tiny):
  assert (rates(tiny, schedule='constant', warmup=0.1, decay=0.5)[10:] == 0.5).all()


def test_wsd_stays_and_then_falls_along_a_line_to_the_last_step_before_zero(tiny):
  lr = rates(tiny, schedule='wsd', warmup=0.1, decay=0.2)
  assert (lr[10:81] == 0.5).all()
  np.testing.assert_allclose(lr[80:], 0.5 * np.arange(20, 0, -1) / 20, rtol=1e-5)


def test_cosine_falls_from_the_end_of_warmup_through_half_to_near_zero(tiny):
  lr = rates(tiny, schedule='cosine', warmup=0.2, decay=0.0)
  assert (np.diff(lr[20:]) < 0).all()
  np.testing.assert_allclose(lr[60], 0.25, rtol=1e-5)
  assert lr[-1] < 1e-3


@pytest.mark.parametrize('optimizer', ['adamw', 'muon'])
def test_only_hidden_matrices_decay(tiny, params, optimizer):
  stage = dataclasses.replace(tiny.stage, optimizer=optimizer, schedule='constant', warmup=0.0)
  updates = first_update(stage, params, jax.tree.map(jnp.zeros_like, params))
  for name in ('qkv', 'down'):
    expected = -stage.learning_rate * stage.weight_decay * params['layers'][name]
    np.testing.assert_allclose(updates['layers'][name], expected, rtol=1e-5)
  others = (updates['embedding'], updates['head'], updates['norm'], updates['layers']['gain'])
  assert all((u == 0).all() for u in others)


@pytest.fixture
def muon(tiny):
  return dataclasses.replace(
    tiny.stage, optimizer='muon', schedule='constant', warmup=0.0, weight_decay=0.0, clip_norm=1e9
  )


def test_muon_orthogonalises_each_matrix_of_a_stack(tiny, muon, params):
  rng = np.random.default_rng(1)
  grads = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params)
  update = first_update(muon, params, grads)
  for name in ('qkv', 'down'):
    spread = np.linalg.svd(grads['layers'][name], compute_uv=False)
    values = np.linalg.svd(update['layers'][name], compute_uv=False)
    assert (spread.max(1) / spread.min(1) > 2.5).all()
    assert (values.max(1) / values.min(1) < 2).all()  # Newton-Schulz ends between about 0.7 and 1.2
  # AdamW's first update of everything else is its learning rate in every entry.
  np.testing.assert_allclose(np.abs(update['embedding']), tiny.stage.learning_rate, rtol=1e-3)
  # One learning rate for both: the updates have like sizes.
  sizes = [
    optax.tree.norm(update['layers'][n]) / params['layers'][n].size ** 0.5 for n in ('qkv', 'down')
  ]
  assert all(0.1 < size / tiny.stage.learning_rate < 0.3 for size in sizes)


def test_muon_keeps_layers_apart(muon, params):
  rng = np.random.default_rng(2)
  grads = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params)
  layers = grads['layers'] | {'qkv': grads['layers']['qkv'].at[0].multiply(-100.0)}
  louder = grads | {'layers': layers}
  before, after = (first_update(muon, params, g)['layers']['qkv'] for g in (grads, louder))
  np.testing.assert_allclose(after[1], before[1], atol=1e-7)
  np.testing.assert_allclose(
    after[0], -before[0], atol=1e-5
  )  # neither scale nor the other layer matters
