"""Masks, rotary positions, and attention against a plain float64 computation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from whyjax.model import attention

B, N, K, T, H = 2, 6, 2, 7, 8
SEGMENTS = np.array([[1, 1, 1, 2, 2, 0, 0], [3, 3, 3, 3, 3, 3, 3]])


def _inputs(seed=0, scale=1.0):
  rng = np.random.default_rng(seed)
  shapes = [(B, N, T, H), (B, K, T, H), (B, K, T, H)]
  return [(scale * rng.normal(size=s)).astype(np.float32) for s in shapes]


@pytest.fixture(scope='module')
def mask():
  return np.asarray(attention.packed(SEGMENTS).mask_BxTxS)


@pytest.fixture(scope='module')
def attend(quick_jit):
  """implementation -> compiled (q, k, v, mask, cotangent) -> output, gradients of q, k, v."""

  def compiled(implementation):
    def fn(q, k, v, mask, cotangent):
      seen = attention.Seen(mask)
      y, pull_back = jax.vjp(lambda *qkv: attention.attention(*qkv, seen, implementation), q, k, v)
      return y, pull_back(cotangent)

    return quick_jit(fn)

  return {name: compiled(name) for name in ('einsum', 'xla')}


def _reference(q, k, v, mask):
  """One query at a time, in float64."""
  y = np.zeros(q.shape)
  for b, n, t in np.ndindex(q.shape[:3]):
    head, seen = n // (N // K), mask[b, t]
    scores = k[b, head, seen].astype(float) @ q[b, n, t].astype(float) / np.sqrt(H)
    weights = np.exp(scores - scores.max())
    y[b, n, t] = weights @ v[b, head, seen].astype(float) / weights.sum()
  return y


def test_the_mask_is_causal_within_segments(mask):
  expected = [
    [[j <= i and row[i] == row[j] for j in range(T)] for i in range(T)] for row in SEGMENTS.tolist()
  ]
  np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize('implementation', ['einsum', 'xla'])
def test_attention_is_a_softmax_over_what_is_seen(attend, mask, implementation):
  q, k, v = _inputs()
  y, _ = attend[implementation](q, k, v, mask, np.zeros_like(q))
  np.testing.assert_allclose(y, _reference(q, k, v, mask), atol=1e-5)


def test_implementations_have_the_same_gradients(attend, mask):
  q, k, v = _inputs()
  (cotangent, *_) = _inputs(seed=1)
  y, gradients = attend['einsum'](q, k, v, mask, cotangent)
  other_y, others = attend['xla'](q, k, v, mask, cotangent)
  np.testing.assert_allclose(y, other_y, atol=1e-5)
  for ours, theirs in zip(gradients, others, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.abs(ours).max() > 0.1


@pytest.mark.parametrize('implementation', ['einsum', 'xla'])
def test_the_softmax_of_bfloat16_inputs_is_float32(attend, mask, implementation):
  # Scores are in the tens, where bfloat16 knows only quarters: rounded scores would err by a tenth.
  half = [jnp.asarray(x, jnp.bfloat16) for x in _inputs(scale=5.0)]
  y, _ = attend[implementation](*half, mask, jnp.zeros_like(half[0]))
  assert y.dtype == jnp.bfloat16
  reference = _reference(*(np.asarray(x, np.float32) for x in half), mask)
  assert np.linalg.norm(np.asarray(y, np.float32) - reference) < 0.005 * np.linalg.norm(reference)


def test_rotation_turns_pairs_as_complex_numbers():
  x, positions, theta = _inputs()[0], np.array([[0, 1, 2, 3, 50, 51, 1000], range(T)]), 500.0
  ours = attention.rotate(x, attention.rotary_angles(positions, H, theta))
  pairs = x[..., : H // 2] + 1j * x[..., H // 2 :]
  turns = np.exp(1j * positions[:, None, :, None] * theta ** (-2 * np.arange(H // 2) / H))
  turned = pairs * turns
  np.testing.assert_allclose(ours, np.concatenate([turned.real, turned.imag], axis=-1), atol=1e-3)


def test_scores_depend_on_relative_positions_alone():
  q, k, _ = _inputs()
  q, k = q[:, :K], k

  def scores(shift_q, shift_k):
    turned = [
      attention.rotate(x, attention.rotary_angles(jnp.arange(T)[None] + shift, H, 100.0))
      for x, shift in ((q, shift_q), (k, shift_k))
    ]
    return np.einsum('bkth,bksh->bkts', *turned)

  here = scores(0, 0)
  np.testing.assert_allclose(scores(40, 40), here, atol=1e-4)
  assert np.abs(scores(1, 0) - here).max() > 0.5
