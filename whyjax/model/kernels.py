"""Attention of packed rows by kernels that keep the scores on the chip: JAX's in Pallas for TPU,
cuDNN's for NVIDIA GPUs.

The compiler can't divide such a kernel over devices, so it is told how: rows are split over the
mesh axis 'data' and heads over 'model', where these divide them. Shape letters as in attention.py.
"""

from collections.abc import Callable

import jax
from jax.experimental.pallas.ops.tpu import splash_attention
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from whyjax.model import attention

_BLOCKS = (512, 256, 128)  # queries and keys that a core works on at once: as many as divide a row


def splash(
  q_BxNxTxH: jax.Array,
  k_BxKxTxH: jax.Array,
  v_BxKxTxH: jax.Array,
  segments_BxT: jax.Array,
  interpret: bool = False,
) -> jax.Array:
  """y_BxNxTxH, of the type of the queries: each sees the keys up to itself in its own segment.

  Args:
    q_BxNxTxH: queries, T a multiple of 128; head n reads the key-value head n // (N / K).
    k_BxKxTxH: keys.
    v_BxKxTxH: values.
    segments_BxT: of each token.
    interpret: run on any platform, slowly.
  """
  T, H = q_BxNxTxH.shape[2:]
  side = next(n for n in _BLOCKS if T % n == 0)
  kinds = ('q', 'kv', 'kv_compute', 'q_dkv', 'kv_dkv', 'kv_dkv_compute', 'q_dq', 'kv_dq')
  blocks = splash_attention.BlockSizes(**{f'block_{kind}': side for kind in kinds})

  def local(q, k, v, segments):
    mask = splash_attention.MultiHeadMask([splash_attention.CausalMask((T, T))] * q.shape[1])
    dials = dict(head_shards=1, q_seq_shards=1, block_sizes=blocks, interpret=interpret)
    kernel = splash_attention.make_splash_mha(mask, **dials)
    return jax.vmap(kernel)(q * H**-0.5, k, v, splash_attention.SegmentIds(segments, segments))

  return _divided(local, q_BxNxTxH, k_BxKxTxH, v_BxKxTxH, segments_BxT)


def cudnn(
  q_BxNxTxH: jax.Array, k_BxKxTxH: jax.Array, v_BxKxTxH: jax.Array, segments_BxT: jax.Array
) -> jax.Array:
  """As `splash`; 16-bit types, T even, H a multiple of 8 up to 128, compute capability 8.0."""

  def local(q, k, v, segments):
    mask_BxTxT = attention.packed(segments).mask_BxTxS
    # JAX's rule for a vmap around it fails where heads share a mask.
    mask_BxNxTxT = jnp.broadcast_to(mask_BxTxT[:, None], (*q.shape[:3], k.shape[2]))
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    y = jax.nn.dot_product_attention(q, k, v, mask=mask_BxNxTxT, implementation='cudnn')
    return y.swapaxes(1, 2)

  return _divided(local, q_BxNxTxH, k_BxKxTxH, v_BxKxTxH, segments_BxT)


def _divided(
  local: Callable[..., jax.Array],
  q_BxNxTxH: jax.Array,
  k_BxKxTxH: jax.Array,
  v_BxKxTxH: jax.Array,
  segments_BxT: jax.Array,
) -> jax.Array:
  """Applies `local` to each device's part."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return local(q_BxNxTxH, k_BxKxTxH, v_BxKxTxH, segments_BxT)
  free = set(mesh.auto_axes)
  rows, heads = (
    axis if axis in free and size % mesh.shape[axis] == 0 else None
    for axis, size in (('data', len(q_BxNxTxH)), ('model', k_BxKxTxH.shape[1]))
  )
  specs = dict(in_specs=(P(rows, heads),) * 3 + (P(rows),), out_specs=P(rows, heads))
  divided = jax.shard_map(local, axis_names=free, check_vma=False, **specs)
  return divided(q_BxNxTxH, k_BxKxTxH, v_BxKxTxH, segments_BxT)
