"""Counts against the real tree, names against counts, FLOPs against a count by hand and by XLA."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import pytest

from whyjax.config import ModelConfig
from whyjax.errors import UserError
from whyjax.model import sizes, transformer


def _model(name: str, **changes) -> ModelConfig:
  return ModelConfig(**sizes.size(name) | changes)


def _stored(model: ModelConfig, vocabulary: int) -> dict:
  return jax.eval_shape(lambda: transformer.init(model, vocabulary, jax.random.key(0)))


CHANGES = {
  'tied': dict(tied_embeddings=True),
  'shared': dict(layers=6, shared_layers=3),
  'grouped': dict(kv_heads=2),
  'all': dict(tied_embeddings=True, layers=4, shared_layers=2, kv_heads=1),
}
MODELS = {name: _model(name) for name in sizes.SIZES}
MODELS |= {name: _model('100k', **changes) for name, changes in CHANGES.items()}


@pytest.mark.parametrize('name', MODELS)
def test_counted_parameters_are_those_stored(name):
  model, vocabulary = MODELS[name], 321
  assert sizes.parameter_count(model, vocabulary) == sum(
    p.size for p in jax.tree.leaves(_stored(model, vocabulary))
  )


@pytest.mark.parametrize('name', sizes.SIZES)
def test_a_size_is_what_its_name_says(name):
  named = float(name[:-1]) * {'k': 1e3, 'm': 1e6, 'b': 1e9}[name[-1]]
  model = _model(name)
  assert 0.75 < sizes.non_embedding_parameters(model) / named < 1.25
  assert model.heads % model.kv_heads == 0 and model.head_dim % 2 == 0


def test_sizes_grow_in_all_respects():
  for small, large in itertools.pairwise(sizes.SIZES):
    a, b = _model(small), _model(large)
    assert a.width <= b.width and a.layers <= b.layers and a.heads <= b.heads
    assert a.mlp_width < b.mlp_width and sizes.BATCH[small] <= sizes.BATCH[large]
    assert sizes.non_embedding_parameters(a) < sizes.non_embedding_parameters(b)


@pytest.mark.parametrize('name', ['1m', 'tied', 'shared', 'grouped', 'all'])
def test_matmul_parameters_are_the_matrices_at_each_use(name):
  model, vocabulary = MODELS[name], 321
  layers = jax.tree_util.tree_leaves_with_path(_stored(model, vocabulary)['layers'])
  matrices = sum(p.size for path, p in layers if path[-1].key != 'gain')
  head = vocabulary * model.width
  assert sizes.matmul_parameters(model, vocabulary) == model.shared_layers * matrices + head


def test_flops_of_a_model_counted_by_hand():
  model = dataclasses.replace(
    _model('100k'), width=4, layers=3, heads=2, kv_heads=1, head_dim=6, mlp_width=5, shared_layers=3
  )
  # A layer: queries 4 x 12, keys and values 4 x 6 each, output 12 x 4, MLP three of 4 x 5.
  # Head: 4 x 10.
  matrices = 3 * (48 + 24 + 24 + 48 + 60) + 40
  # Scores and sums of values: 2 products of 2 FLOPs for 12 numbers and 7 places; backward twice.
  attention = 3 * (2 * 2 * 12 * 7) * 3
  assert sizes.flops_per_token(model, 10, 7) == 6 * matrices + attention


def test_flops_are_nearly_those_that_xla_counts():
  model = _model('1m', layers=4, shared_layers=2, kv_heads=2)
  vocabulary, rows, context = 512, 2, 256
  tokens = jax.ShapeDtypeStruct((rows, context), jnp.int32)

  def loss(params, tokens, positions, segments):
    logits = transformer.forward(model, params, tokens, positions, segments)
    return jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], axis=-1).mean()

  lowered = jax.jit(jax.grad(loss)).lower(_stored(model, vocabulary), tokens, tokens, tokens)
  counted = lowered.cost_analysis()['flops'] / (rows * context)
  # XLA counts norms, softmax and the like too.
  assert 0.98 < counted / sizes.flops_per_token(model, vocabulary, context) < 1.1


def test_an_unknown_size_is_named_with_what_there_is():
  with pytest.raises(UserError, match=r"'2m'.*1m, 3m"):
    sizes.size('2m')
