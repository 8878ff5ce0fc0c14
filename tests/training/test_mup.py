"""muP: what a learning rate does to a model does not depend on its width."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from whyjax.model import transformer
from whyjax.training.step import TEXT, make_step

WIDTHS = (32, 64, 128)
VOCABULARY, ROWS, LENGTH, UPDATES, SEEDS = 16, 1, 8, 4, 2


def _batch():
  rng = np.random.default_rng(0)
  shape = (ROWS, LENGTH)
  return {
    'tokens': rng.integers(0, VOCABULARY, shape).astype(np.int32),
    'segments': np.ones(shape, np.int32),
    'positions': np.broadcast_to(np.arange(LENGTH, dtype=np.int32), shape),
    'weights': np.ones(shape, np.float32),
  }


def _change(tiny, width: int, base_width: int) -> np.ndarray:
  """Root mean square of what a few updates change in the activations of the last layer, and of what
  the head's own change adds to the logits."""
  heads = width // 16
  shape = dict(width=width, heads=heads, kv_heads=heads, head_dim=16, mlp_width=2 * width)
  model = dataclasses.replace(tiny.model, base_width=base_width, **shape)
  dials = dict(learning_rate=1e-2, schedule='constant', warmup=0.0, clip_norm=1e9, weight_decay=0.0)
  stage = dataclasses.replace(tiny.stage, batch_rows=ROWS, **dials)
  step = make_step(model, stage, tiny.device)
  batch = _batch()
  asked = (batch['tokens'], batch['positions'], batch['segments'])

  def seen(params, head):
    net = transformer.network(model, params)
    x = net.hidden(*asked, scan_layers=True, remat=False)
    return x, net.norm(x) @ head

  @jax.jit
  @jax.vmap
  def changes(key):
    before = transformer.init(model, VOCABULARY, key)
    state = before, TEXT.init(model, stage)(before)
    after, _ = jax.lax.fori_loop(0, UPDATES, lambda _, state: step(state, batch)[0], state)
    x, by_head = seen(after, after['head'] - before['head'])
    moved = x - seen(before, before['head'])[0], by_head
    return [jnp.sqrt(jnp.mean(m**2)) for m in moved]

  return np.mean(changes(jax.random.split(jax.random.key(0), SEEDS)), axis=1)


@pytest.fixture(scope='module')
def slopes(tiny):
  """Parametrisation -> what changes -> its growth: the power of the width."""

  def fitted(based):
    found = [_change(tiny, width, WIDTHS[0] if based else 0) for width in WIDTHS]
    return dict(
      zip(('hidden', 'logits'), np.polyfit(np.log(WIDTHS), np.log(found), 1)[0], strict=True)
    )

  return {'muP': fitted(True), 'standard': fitted(False)}


def test_updates_change_activations_alike_at_all_widths(slopes):
  assert abs(slopes['muP']['hidden']) < 0.15
  assert abs(slopes['muP']['logits']) < 0.15
  assert slopes['standard']['hidden'] > 0.3
  assert slopes['standard']['logits'] > 0.3
