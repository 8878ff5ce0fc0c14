"""The TPU kernel, run as JAX interprets it here, against attention by plain einsums."""

import dataclasses

import jax
import numpy as np
import pytest

from whyjax import config, defaults
from whyjax.model import attention, kernels
from whyjax.training import mesh as meshes

R, B, N, K, T, H = 2, 4, 4, 2, 256, 64


def _inputs(rng, *leading):
  shapes = [(*leading, B, N, T, H), (*leading, B, K, T, H), (*leading, B, K, T, H)]
  qkv = [rng.normal(size=s).astype(np.float32) for s in shapes]
  # Rows of several segments, which do not end where a block does, and one of a single segment.
  segments = np.sort(rng.integers(0, 5, (*leading, B, T)), axis=-1).astype(np.int32)
  segments[..., 0, :] = 1
  cotangent = rng.normal(size=shapes[0]).astype(np.float32)
  return (*qkv, segments, cotangent)


def _by_einsum(q, k, v, segments):
  return attention.attention(q, k, v, attention.packed(segments), 'einsum')


def _by_kernel(q, k, v, segments):
  return kernels.splash(q, k, v, segments, interpret=True)


def _with_gradients(attend):
  """(q, k, v, segments, cotangent) -> output and gradients of q, k, v."""

  def fn(q, k, v, segments, cotangent):
    y, pull_back = jax.vjp(lambda *qkv: attend(*qkv, segments), q, k, v)
    return y, *pull_back(cotangent)

  return fn


def _assert_equal(ours, theirs):
  for x, y in zip(ours, theirs, strict=True):
    np.testing.assert_allclose(x, y, atol=2e-5, rtol=1e-4)
    assert np.abs(x).max() > 0.1


def test_the_kernel_equals_plain_attention_and_its_gradients():
  inputs = _inputs(np.random.default_rng(0))
  _assert_equal(*(jax.jit(_with_gradients(f))(*inputs) for f in (_by_kernel, _by_einsum)))


@pytest.mark.parametrize('shape', [(2, 4, 1), (1, 4, 2), (2, 2, 2), (1, 8, 1), (1, 1, 4)])
def test_the_kernel_on_a_mesh_equals_plain_attention(shape):
  """Rows and heads spread over devices where these divide them, and stay whole where not."""
  sizes = dict(zip(('mesh_replica', 'mesh_data', 'mesh_model'), shape, strict=True))
  device = dataclasses.replace(config.parse(defaults.study().to_dict()).device, **sizes)
  mesh = meshes.make_mesh(device, R, 8)
  inputs = _inputs(np.random.default_rng(1), R)

  def on_mesh(attend):
    return jax.jit(meshes.map_replicas(_with_gradients(attend), mesh, loop=False))(*inputs)

  spread = on_mesh(_by_kernel)
  _assert_equal(spread, on_mesh(_by_einsum))
