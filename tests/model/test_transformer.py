"""What a token may see; that no way to run or share changes a value; types; scale at the start."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from whyjax.model import attention, transformer

LENGTH = 10
SEGMENTS = np.repeat([1, 2, 0], [4, 4, 2])
POSITIONS = np.concatenate([np.arange(4), np.arange(4), np.arange(2)])
WORDS = LENGTH * LENGTH  # each place of each row reads a word of its own
# The last four are never read, so that no word feels their logits through the tied table.
VOCABULARY = WORDS + 4


@pytest.fixture(scope='module')
def run(quick_jit):
  """(model, scan_layers, remat) -> compiled (params, batch, cotangent) -> logits, gradients."""

  @functools.cache
  def compiled(model, scan_layers=False, remat=False):
    def fn(params, batch, cotangent):
      def logits_of(p):
        return transformer.forward(model, p, *batch, scan_layers=scan_layers, remat=remat)

      logits, pull_back = jax.vjp(logits_of, params)
      return logits, pull_back(cotangent)[0]

    return quick_jit(fn)

  return compiled


@pytest.fixture(scope='module')
def params(model, random_params):
  return random_params(model, VOCABULARY)


@pytest.fixture(scope='module')
def batch():
  """tokens, positions, segments, each [B, T]: two examples and some padding a row, B = T."""
  rows = (np.broadcast_to(x, (LENGTH, LENGTH)) for x in (POSITIONS, SEGMENTS))
  return (np.arange(WORDS).reshape(LENGTH, LENGTH), *rows)


@pytest.fixture(scope='module')
def cotangent():
  return np.random.default_rng(1).normal(size=(LENGTH, LENGTH, VOCABULARY)).astype(np.float32)


def _assert_close(ours, theirs, tolerance=1e-4):
  """Leaf by leaf, relative to the largest entry of a leaf."""

  def check(path, a, b):
    limit = tolerance * np.abs(b).max()
    np.testing.assert_allclose(a, b, rtol=0, atol=limit, err_msg=jax.tree_util.keystr(path))

  jax.tree_util.tree_map_with_path(check, ours, theirs)


@pytest.mark.parametrize('one_segment', [True, False], ids=['one segment', 'packed'])
def test_gradients_reach_exactly_the_tokens_that_may_be_seen(
  run, model, params, batch, one_segment
):
  tokens, positions, segments = batch
  if one_segment:
    positions, segments = np.broadcast_to(np.arange(LENGTH), segments.shape), np.ones_like(segments)
  # Row t asks for the gradient of its logits at t alone.
  cotangent = np.zeros((LENGTH, LENGTH, VOCABULARY), np.float32)
  asked = np.random.default_rng(0).normal(size=(LENGTH, 4))
  cotangent[range(LENGTH), range(LENGTH), WORDS:] = asked
  _, gradients = run(model)(params, (tokens, positions, segments), cotangent)
  reached = np.any(gradients['embedding'][:WORDS].reshape(LENGTH, LENGTH, -1) != 0, axis=-1)
  may_see = np.tri(LENGTH, dtype=bool) & (segments[0][:, None] == segments[0])
  np.testing.assert_array_equal(reached, may_see)


def test_other_segments_do_not_change_a_bit_of_the_logits(run, model, params, batch, cotangent):
  tokens, positions, segments = batch
  others = np.where(segments == 2, tokens, (tokens * 7 + 3) % WORDS)
  before, _ = run(model)(params, batch, cotangent)
  after, _ = run(model)(params, (others, positions + 5 * (segments != 2), segments), cotangent)
  np.testing.assert_array_equal(before[:, 4:8], after[:, 4:8])
  assert np.all(np.any(before[:, :4] != after[:, :4], axis=-1))


def test_packed_examples_read_as_each_alone(run, model, params, batch, cotangent):
  tokens, positions, segments = batch
  packed, _ = run(model)(params, batch, cotangent)
  for first in (0, 4):
    # The example moves to the front, alone with padding.
    alone = np.full_like(tokens, 99), np.zeros_like(positions), np.zeros_like(segments)
    for lone, row in zip(alone, batch, strict=True):
      lone[:, :4] = row[:, first : first + 4]
    logits, _ = run(model)(params, alone, cotangent)
    np.testing.assert_allclose(logits[:, :4], packed[:, first : first + 4], atol=2e-5)


def test_only_distances_matter_not_places(run, model, params, batch, cotangent):
  tokens, positions, segments = batch
  logits, moved, stretched = (
    run(model)(params, (tokens, p, segments), cotangent)[0]
    for p in (positions, positions + 30, positions * 2)
  )
  np.testing.assert_allclose(moved, logits, atol=1e-4)
  assert np.abs(stretched - logits).max() > 0.1


@pytest.mark.parametrize('remat', [False, True], ids=['', 'remat'])
@pytest.mark.parametrize('scan_layers', [False, True], ids=['unrolled', 'scan'])
def test_scan_and_remat_change_no_value_and_no_gradient(
  run, model, params, batch, cotangent, scan_layers, remat
):
  expected = run(model)(params, batch, cotangent)
  got = run(model, scan_layers, remat)(params, batch, cotangent)
  _assert_close(got, expected, tolerance=1e-5)
  assert all(np.any(g != 0) for g in jax.tree.leaves(expected[1]))


@pytest.mark.parametrize('scan_layers', [False, True], ids=['unrolled', 'scan'])
def test_remat_keeps_little_more_than_what_passes_between_layers(model, params, batch, scan_layers):
  def kept(layers, remat):
    """Bytes that wait for the backward pass."""
    deep = dataclasses.replace(model, layers=layers, shared_layers=1)
    how = dict(scan_layers=scan_layers, remat=remat)

    def residuals():
      fresh = transformer.init(deep, VOCABULARY, jax.random.key(0))
      return jax.vjp(lambda p: transformer.forward(deep, p, *batch, **how), fresh)[1]

    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(residuals)))

  weights = 4 * sum(p[0].size for p in jax.tree.leaves(params['layers']))
  stream = 4 * LENGTH * LENGTH * model.width
  a_layer = {remat: (kept(6, remat) - kept(2, remat)) / 4 - weights for remat in (False, True)}
  assert stream <= a_layer[True] <= 1.5 * stream
  assert a_layer[False] > 5 * stream


def _unshared(model, params):
  """Each stored layer as often as it is used, in a row."""
  layers = jax.tree.map(lambda p: jnp.repeat(p, model.shared_layers, axis=0), params['layers'])
  return dataclasses.replace(model, shared_layers=1), params | {'layers': layers}


def _untied(model, params):
  return dataclasses.replace(model, tied_embeddings=False), params | {'head': params['embedding'].T}


def _ungrouped(model, params):
  """Each key-value head as often as it is read: columns (query, key, value) of every head."""
  K, G, H = model.kv_heads, model.heads // model.kv_heads, model.head_dim
  qkv = params['layers']['attention']['qkv']
  grouped = qkv.reshape(*qkv.shape[:2], K, G + 2, H)
  heads = [grouped[:, :, k, [g, G, G + 1]] for k in range(K) for g in range(G)]
  copied = jnp.stack(heads, axis=2).reshape(*qkv.shape[:2], -1)
  layers = params['layers'] | {'attention': params['layers']['attention'] | {'qkv': copied}}
  return dataclasses.replace(model, kv_heads=model.heads), params | {'layers': layers}


@pytest.mark.parametrize('expand', [_unshared, _untied, _ungrouped])
def test_sharing_equals_parameters_that_stand_twice(run, model, params, batch, cotangent, expand):
  larger, _ = expand(model, params)
  twice, pull_back = jax.vjp(lambda p: expand(model, p)[1], params)
  logits, gradients = run(model)(params, batch, cotangent)
  their_logits, their_gradients = run(larger)(twice, batch, cotangent)
  _assert_close(logits, their_logits)
  _assert_close(gradients, pull_back(their_gradients)[0])


def test_bfloat16_is_close_and_leaves_parameters_and_gradients_float32(
  run, model, params, batch, cotangent
):
  half = dataclasses.replace(model, compute_dtype='bfloat16')
  started = jax.eval_shape(lambda: transformer.init(half, VOCABULARY, jax.random.key(0)))
  logits, gradients = run(half)(params, batch, cotangent)
  assert {x.dtype for x in jax.tree.leaves((started, logits, gradients))} == {jnp.dtype('float32')}
  reference = run(model)(params, batch, cotangent)
  for ours, exact in zip(*map(jax.tree.leaves, ((logits, gradients), reference)), strict=True):
    error = np.linalg.norm(ours - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.05


def test_no_matrix_product_leaves_bfloat16(model, params, batch):
  half = dataclasses.replace(model, compute_dtype='bfloat16')
  text = jax.jit(lambda p: transformer.forward(half, p, *batch)).lower(params).as_text()
  lines = [line for line in text.splitlines() if 'dot_general' in line]
  products = [line.rsplit(' : ', 1)[1].split('->')[0] for line in lines]
  assert len(products) == 6 * half.layers + 1
  assert not [operands for operands in products if 'xbf16>' not in operands or 'f32' in operands]


@pytest.fixture(scope='module')
def start(model, quick_jit):
  """Compiled key -> fresh parameters of 32 layers, the last residual stream, logits, gradients."""
  tokens = np.random.default_rng(0).integers(0, VOCABULARY, (4, 32))
  positions = np.broadcast_to(np.arange(32), tokens.shape)
  mask = attention.packed(np.ones_like(tokens))
  deep = dataclasses.replace(model, width=32, mlp_width=88, layers=32, shared_layers=1)

  def loss(params):
    net = transformer.network(deep, params)
    angles = net.angles(positions)
    stream = net.stack(net.embed(tokens), angles, mask, scan_layers=True, remat=False)
    logits = net.logits(stream)
    log_p = jax.nn.log_softmax(logits[:, :-1])
    return -jnp.take_along_axis(log_p, tokens[:, 1:, None], axis=-1).mean(), (stream, logits)

  @quick_jit
  def fn(key):
    params = transformer.init(deep, VOCABULARY, key)
    gradients, (stream, logits) = jax.grad(loss, has_aux=True)(params)
    return params, stream, logits, gradients

  return fn


def test_a_deep_model_starts_at_unit_scale(start):
  _, stream, logits, gradients = start(jax.random.key(0))
  assert 0.4 < np.std(stream) < 1.2
  assert 0.7 < np.std(logits) < 1.5
  # No layer is starved or flooded by its place in the stack.
  for name in ('qkv', 'out'):
    norms = np.linalg.norm(gradients['layers']['attention'][name], axis=(1, 2))
    assert norms.max() < 15 * norms.min(), name


def test_the_start_is_fixed_by_the_key_and_differs_between_layers(start):
  (one, *_), (again, *_), (other, *_) = (start(jax.random.key(s)) for s in (1, 1, 2))
  for a, b, c in zip(*map(jax.tree.leaves, (one, again, other)), strict=True):
    np.testing.assert_array_equal(a, b)
    assert np.all(a == 1) or np.mean(a != c) > 0.99
  correlation = np.corrcoef(one['layers']['mlp']['down'].reshape(32, -1))
  assert np.abs(correlation - np.eye(32)).max() < 0.15
