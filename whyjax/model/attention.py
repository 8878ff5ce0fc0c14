"""Rotary positions, what a query may see, and grouped-query attention.

Shape letters of this room: B batch, T query and S key positions, P prompt, G what is written after
it, D width, N query heads, K key-value heads, H head_dim, V vocabulary; inside attention, G = N / K
is the number of query heads that share a key-value head. Heads come before time, so that the
batched matrix products of attention read and write contiguous blocks.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_BLOCK = 128  # tokens; the Pallas kernel works on rows of multiples


class Seen(NamedTuple):
  """Which keys a query may see.

  Attributes:
    mask_BxTxS: True where it may. Every query must see some key.
    segments_BxT: where they are the keys up to itself in its own segment: of these some kernels
      need no mask. None where it is otherwise.
  """

  mask_BxTxS: jax.Array
  segments_BxT: jax.Array | None = None


def packed(segments_BxT: jax.Array) -> Seen:
  """Query i may see key j where j <= i and both are in the same segment."""
  time_T = jnp.arange(segments_BxT.shape[1])
  causal_TxT = time_T[:, None] >= time_T[None, :]
  same_BxTxT = segments_BxT[:, :, None] == segments_BxT[:, None, :]
  return Seen(causal_TxT & same_BxTxT, segments_BxT)


def rotary_angles(
  positions_BxT: jax.Array, head_dim: int, theta: float
) -> tuple[jax.Array, jax.Array]:
  """Cosine and sine of every rotation angle, float32, each [B, 1, T, H/2] (Su et al., 2021)."""
  frequencies = theta ** (-jnp.arange(head_dim // 2, dtype=jnp.float32) / (head_dim // 2))
  angles = positions_BxT[:, None, :, None] * frequencies
  return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Rotates the pairs (x[i], x[i + H/2]) of the last axis of x [B, heads, T, H], in float32."""
  cos, sin = angles
  halves = x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2)
  # The halves trade places by a reversal: XLA on CPU fuses it, and would copy a concatenation.
  across = jnp.flip(halves, axis=-2) * jnp.stack([-sin, sin], axis=-2)
  return (halves * cos[..., None, :] + across).reshape(x.shape).astype(x.dtype)


def attention(
  q_BxNxTxH: jax.Array,
  k_BxKxSxH: jax.Array,
  v_BxKxSxH: jax.Array,
  seen: Seen,
  implementation: str | None = None,
) -> jax.Array:
  """Masked attention with grouped queries and a float32 softmax.

  Args:
    q_BxNxTxH: queries; head n reads the key-value head n // (N / K).
    k_BxKxSxH: keys.
    v_BxKxSxH: values.
    seen: keys of each query.
    implementation: 'einsum', 'xla' (`jax.nn.dot_product_attention`), or a kernel that takes
      segments in whole rows: 'splash' on TPU, 'cudnn' on GPU (kernels.py says which shapes). None
      picks by the platform of the mesh that the program is for.

  Returns:
    y_BxNxTxH, of the type of the queries.
  """
  if implementation is None:
    implementation = _best(q_BxNxTxH, seen)
  if implementation == 'einsum':
    return _einsum_attention(q_BxNxTxH, k_BxKxSxH, v_BxKxSxH, seen.mask_BxTxS)
  if implementation in ('splash', 'cudnn'):
    from whyjax.model import kernels  # a third of a second, which others need not spend

    kernel = getattr(kernels, implementation)
    return kernel(q_BxNxTxH, k_BxKxSxH, v_BxKxSxH, seen.segments_BxT)
  q, k, v = (x.swapaxes(1, 2) for x in (q_BxNxTxH, k_BxKxSxH, v_BxKxSxH))
  mask_Bx1xTxS = seen.mask_BxTxS[:, None]
  y = jax.nn.dot_product_attention(q, k, v, mask=mask_Bx1xTxS, implementation='xla')
  return y.swapaxes(1, 2)


def _best(q_BxNxTxH: jax.Array, seen: Seen) -> str:
  """The implementation for the platform of the program."""
  platform = _platform()
  if platform == 'cpu':
    return 'einsum'
  _, _, T, H = q_BxNxTxH.shape
  whole_rows = seen.segments_BxT is not None  # not the single queries of decoding
  if platform == 'tpu' and whole_rows and T % _BLOCK == 0:
    return 'splash'
  fits_cudnn = q_BxNxTxH.dtype.itemsize == 2 and T % 2 == 0 and H % 8 == 0 and H <= 128
  if platform == 'gpu' and whole_rows and fits_cudnn and _ampere():
    return 'cudnn'
  return 'xla'


def _ampere() -> bool:
  """Whether the GPUs here are NVIDIA's of compute capability 8.0 or later."""
  if jax.default_backend() != 'gpu':  # the program is for GPUs that are described only
    return False
  major = str(getattr(jax.local_devices()[0], 'compute_capability', '')).split('.')[0]
  return major.isdigit() and int(major) >= 8  # AMD's is a name, such as gfx90a


def _platform() -> str:
  """That of the mesh in whose program we are, which need not be here; else of the backend."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  return device.platform if device else jax.default_backend()


def _einsum_attention(q_BxNxTxH, k_BxKxSxH, v_BxKxSxH, mask_BxTxS):
  """Queries of one group stand one after another in time: with five axes XLA on CPU is slower."""
  B, N, T, H = q_BxNxTxH.shape
  K = k_BxKxSxH.shape[1]
  G = N // K
  q = q_BxNxTxH.reshape(B, K, G * T, H)
  mask = jnp.tile(mask_BxTxS, (1, G, 1))[:, None]
  return _softmax_attention(q, k_BxKxSxH, v_BxKxSxH, mask).reshape(B, N, T, H)


@jax.custom_vjp
def _softmax_attention(q, k, v, mask):
  """y [B, K, T, H]; the gradient reads the weights fewer times than that of autodiff."""
  return _forward(q, k, v, mask)[0]


def _forward(q, k, v, mask):
  H = q.shape[-1]
  scores = jnp.einsum('bkth,bksh->bkts', q, k, preferred_element_type=jnp.float32) * H**-0.5
  weights = jax.nn.softmax(jnp.where(mask, scores, -1e30)).astype(v.dtype)
  y = jnp.einsum('bkts,bksh->bkth', weights, v)
  return y, (q, k, v, weights, y)


def _backward(kept, dy):
  """The sum of weights times their gradients over keys is that of y times dy over H, which is
  shorter (Dao et al. 2022, appendix B.2)."""
  q, k, v, weights, y = kept
  dv = jnp.einsum('bkts,bkth->bksh', weights, dy)
  dweights = jnp.einsum('bkth,bksh->bkts', dy, v, preferred_element_type=jnp.float32)
  mean = jnp.sum(dy.astype(jnp.float32) * y, axis=-1, keepdims=True)
  dscores = (weights * (dweights - mean) * q.shape[-1] ** -0.5).astype(q.dtype)
  dq = jnp.einsum('bkts,bksh->bkth', dscores, k)
  return dq, jnp.einsum('bkts,bkth->bksh', dscores, q), dv, None


_softmax_attention.defvjp(_forward, _backward)
