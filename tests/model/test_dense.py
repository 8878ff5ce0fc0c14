"""The product whose gradient is written out, against that of autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from whyjax.model.dense import dense


@pytest.mark.parametrize('shape', [(12, 20), (20, 12)], ids=['widens', 'narrows'])
@pytest.mark.parametrize(
  'kind, result, tolerance',
  [('float32', None, 1e-6), ('bfloat16', None, 2e-2), ('bfloat16', 'float32', 2e-2)],
)
def test_values_and_gradients_are_those_of_autodiff(shape, kind, result, tolerance):
  rng = np.random.default_rng(0)
  D, N = shape
  x = jnp.asarray(rng.normal(size=(3, 5, D)), kind)
  w = jnp.asarray(rng.normal(size=(D, N)), kind)

  def plain(x, w):
    return jnp.matmul(x, w, preferred_element_type=result)

  ours, pull_ours = jax.vjp(lambda x, w: dense(x, w, result), x, w)
  theirs, pull_theirs = jax.vjp(plain, x, w)
  dy = jnp.asarray(rng.normal(size=ours.shape), ours.dtype)
  for a, b in zip((ours, *pull_ours(dy)), (theirs, *pull_theirs(dy)), strict=True):
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b)
