"""Cached decoding against re-running the prefix, ends, padding, replicas, the law of samples."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import chisquare

from whyjax.model import decoding, transformer

VOCABULARY, NEW = 32, 8
LENGTHS = np.array([1, 7, 3, 5])
NO_END = np.int32(-1)


@pytest.fixture(scope='module')
def prompts():
  return np.random.default_rng(0).integers(0, VOCABULARY, (len(LENGTHS), LENGTHS.max()))


@pytest.fixture(scope='module')
def small(model):
  return dataclasses.replace(model, layers=2)


@pytest.fixture(scope='module')
def otherwise_padded(prompts):
  """The same prompts, with other words behind them."""
  prompt = np.arange(prompts.shape[1]) < LENGTHS[:, None]
  return np.where(prompt, prompts, (prompts + 5) % VOCABULARY)


@pytest.fixture(scope='module')
def models(model, plain_model, small):
  return {
    'everything shared': model,
    'nothing shared': dataclasses.replace(plain_model, layers=2),
    'bfloat16': dataclasses.replace(small, compute_dtype='bfloat16'),
  }


@pytest.fixture(scope='module')
def write(quick_jit):
  """(model, temperature) -> compiled (params, prompts, lengths, end_id, key) -> tokens_BxG."""

  @functools.cache
  def compiled(model, temperature=0.0, new=NEW):
    def fn(params, tokens, lengths, end_id, key):
      dials = dict(max_new_tokens=new, end_id=end_id, key=key, temperature=temperature)
      return decoding.decode(model, params, tokens, lengths, **dials)

    return quick_jit(fn)

  return compiled


@pytest.fixture(scope='module')
def read(quick_jit):
  """model -> compiled (params, tokens_BxT) -> logits_BxTxV of the forward pass over one segment."""

  @functools.cache
  def compiled(model):
    def fn(params, tokens):
      positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
      return transformer.forward(model, params, tokens, positions, jnp.ones_like(tokens))

    return quick_jit(fn)

  return compiled


def _followed(prompts, lengths, written):
  """Each prompt with what was written after it; what stands behind is unseen by it."""
  rows = np.zeros((len(prompts), prompts.shape[1] + written.shape[1]), np.int32)
  for row, prompt, n, new in zip(rows, prompts, lengths, written, strict=True):
    row[: n + len(new)] = [*prompt[:n], *new]
  return rows


def _until(row, end_id):
  """The row up to its first end, and nothing but ends after it."""
  ended = np.cumsum(row == end_id) > 0
  return np.where(ended, end_id, row)


@pytest.mark.parametrize('name', ['everything shared', 'nothing shared', 'bfloat16'])
def test_greedy_decoding_equals_rerunning_the_growing_prefix(
  name, models, write, read, random_params, prompts
):
  model = models[name]
  params = random_params(model, VOCABULARY)
  written = write(model)(params, prompts, LENGTHS, NO_END, jax.random.key(0))
  rerun = np.zeros_like(written)
  for i in range(NEW):
    logits = read(model)(params, _followed(prompts, LENGTHS, rerun))
    logits = logits[np.arange(len(prompts)), LENGTHS - 1 + i]
    # Rounding may decide between near equals in bfloat16 alone.
    slack = 0.05 * logits.std() if name == 'bfloat16' else 0.0
    chosen = logits[np.arange(len(prompts)), written[:, i]]
    assert np.all(chosen >= logits.max(axis=-1) - slack), (name, i)
    rerun[:, i] = written[:, i]
  assert len(np.unique(written)) > 5  # not a model that repeats itself whatever it reads


def test_prefill_gives_the_logits_of_the_last_prompt_token(
  model, read, quick_jit, random_params, prompts, otherwise_padded
):
  params = random_params(model, VOCABULARY)
  last = quick_jit(functools.partial(decoding.last_logits, model))
  expected = read(model)(params, prompts)[range(len(prompts)), LENGTHS - 1]
  logits = last(params, prompts, LENGTHS)
  np.testing.assert_allclose(logits, expected, atol=1e-4)
  np.testing.assert_array_equal(last(params, otherwise_padded, LENGTHS), logits)


@pytest.mark.parametrize('temperature', [0.0, 0.9])
def test_what_pads_a_prompt_is_never_read(
  temperature, small, write, random_params, prompts, otherwise_padded
):
  params, key = random_params(small, VOCABULARY), jax.random.key(1)
  one, other = (
    write(small, temperature)(params, p, LENGTHS, NO_END, key) for p in (prompts, otherwise_padded)
  )
  np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('temperature', [0.0, 0.9])
def test_after_its_end_a_row_writes_ends_and_others_go_on(
  temperature, small, write, random_params, prompts
):
  params = random_params(small, VOCABULARY)
  fn = functools.partial(write(small, temperature), params, prompts, LENGTHS)
  endless = fn(NO_END, jax.random.key(2))
  assert len(np.unique(endless)) < VOCABULARY  # some end is never written
  for end_id in np.arange(VOCABULARY, dtype=np.int32):
    expected = [_until(row, end_id) for row in endless]
    np.testing.assert_array_equal(fn(end_id, jax.random.key(2)), expected)


def test_decoding_stops_when_all_rows_have_ended(
  small, quick_jit, random_params, prompts, monkeypatch
):
  steps = []
  choose = jnp.argmax

  def counted(*args, **kwargs):
    jax.debug.callback(lambda: steps.append(1))
    return choose(*args, **kwargs)

  monkeypatch.setattr(decoding.jnp, 'argmax', counted)
  params = random_params(small, VOCABULARY)
  alike = np.broadcast_to(prompts[:1], (2, prompts.shape[1]))

  @quick_jit
  def write(params, end_id):
    key, lengths = jax.random.key(0), jnp.array([3, 3])
    return decoding.decode(
      small, params, alike, lengths, max_new_tokens=NEW, end_id=end_id, key=key, temperature=0.0
    )

  endless = write(params, NO_END)
  jax.effects_barrier()
  assert len(steps) == NEW
  steps.clear()
  end_id = endless[0, 2]
  written = write(params, end_id)
  jax.effects_barrier()
  np.testing.assert_array_equal(written, [_until(row, end_id) for row in endless])
  assert len(steps) == 1 + np.argmax(endless[0] == end_id) < NEW


def test_replicas_write_what_each_writes_alone(small, write, quick_jit, random_params, prompts):
  replicas = 3
  alone = write(small, 0.9)
  each = [random_params(small, VOCABULARY, seed) for seed in range(replicas)]
  keys = jax.random.split(jax.random.key(3), replicas)
  read = np.stack([(prompts + r) % VOCABULARY for r in range(replicas)])
  lengths = np.stack([np.roll(LENGTHS, r) for r in range(replicas)])
  single = [alone(*args, NO_END, key) for *args, key in zip(each, read, lengths, keys, strict=True)]
  end_id = np.int32(np.bincount(np.ravel(single)).argmax())
  single = [alone(*args, end_id, key) for *args, key in zip(each, read, lengths, keys, strict=True)]
  args = (jax.tree.map(lambda *x: np.stack(x), *each), read, lengths, keys)

  def one(args):
    params, tokens, lengths, key = args
    return decoding.decode(
      small, params, tokens, lengths, max_new_tokens=NEW, end_id=end_id, key=key, temperature=0.9
    )

  together, in_turn = quick_jit(lambda args: (jax.vmap(one)(args), jax.lax.map(one, args)))(args)
  np.testing.assert_array_equal(together, single)
  np.testing.assert_array_equal(in_turn, single)


def test_a_key_fixes_what_is_sampled(small, write, random_params, prompts):
  params = random_params(small, VOCABULARY)
  fn = functools.partial(write(small, 0.9), params, prompts, LENGTHS, NO_END)
  one, again, other = (fn(jax.random.key(s)) for s in (1, 1, 2))
  np.testing.assert_array_equal(one, again)
  assert np.mean(one != other) > 0.5


def test_samples_follow_the_softmax_at_their_temperature(plain_model, write, read, random_params):
  words, rows, temperature = 5, 6000, 0.7
  model = dataclasses.replace(plain_model, layers=1)
  params = random_params(model, words)
  params['head'] = 0.3 * params['head']  # no word too rare for a chi-square of its count
  prompt = np.array([3, 1, 4])
  prompts, lengths = np.tile(prompt, (rows, 1)), np.full(rows, 3)
  written = write(model, temperature, new=2)(params, prompts, lengths, NO_END, jax.random.key(0))
  counts = np.zeros((words, words))
  np.add.at(counts, tuple(written.T), 1)
  after = read(model)(params, np.array([[*prompt, first] for first in range(words)])).astype(float)

  def law(temperature):
    """Of both tokens together: a step that reused the noise of the last would not follow it."""
    first = softmax(after[0, 2] / temperature)
    second = softmax(after[:, 3] / temperature, axis=-1)
    return rows * first[:, None] * second

  assert law(temperature).min() > 5
  assert chisquare(counts, law(temperature), axis=None).pvalue > 0.01
  assert chisquare(counts, law(1.0), axis=None).pvalue < 1e-6
