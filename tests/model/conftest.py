"""A small model for quick tests, with grouped queries, shared layers and a tied table."""

from collections.abc import Callable
import dataclasses

import jax
import numpy as np
import pytest

from whyjax.config import ModelConfig
from whyjax.model import transformer

MODEL = ModelConfig(
  width=16,
  layers=4,
  heads=4,
  kv_heads=2,
  head_dim=8,
  mlp_width=24,
  tied_embeddings=True,
  shared_layers=2,
  rope_theta=100.0,
  compute_dtype='float32',
  base_width=0,
)


@pytest.fixture(scope='session')
def model() -> ModelConfig:
  return MODEL


@pytest.fixture(scope='session')
def plain_model() -> ModelConfig:
  """The same without any sharing of parameters."""
  return dataclasses.replace(MODEL, kv_heads=4, shared_layers=1, tied_embeddings=False)


@pytest.fixture(scope='session')
def quick_jit() -> Callable:
  """jax.jit that compiles in half the time, for what only has to agree within rounding.

  What it compiles returns NumPy arrays, so that a comparison of them compiles nothing.
  """

  def jit(fn):
    compiled = jax.jit(fn, compiler_options={'xla_backend_optimization_level': 0})
    return lambda *args: jax.device_get(compiled(*args))

  return jit


@pytest.fixture(scope='session')
def random_params() -> Callable:
  """(model, vocabulary, seed) -> parameters: gains around one, all else around zero."""

  def params(model, vocabulary, seed=0):
    shapes = jax.eval_shape(lambda: transformer.init(model, vocabulary, jax.random.key(0)))
    rng = np.random.default_rng(seed)

    def leaf(path, p):
      return (0.3 * rng.normal(size=p.shape) + (path[-1].key == 'gain')).astype(np.float32)

    return jax.tree_util.tree_map_with_path(leaf, shapes)

  return params
