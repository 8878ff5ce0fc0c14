"""Attention of packed rows on TPU by JAX's Pallas kernel: no score leaves the core of a chip.

Shape letters as in attention.py.
"""

import jax
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jax.sharding import PartitionSpec as P

_BLOCKS = (512, 256, 128)  # queries and keys that a core works on at once: as many as divide a row


def attention(
  q_BxNxTxH: jax.Array,
  k_BxKxTxH: jax.Array,
  v_BxKxTxH: jax.Array,
  segments_BxT: jax.Array,
  interpret: bool = False,
) -> jax.Array:
  """y_BxNxTxH, of the type of the queries: each sees the keys up to itself in its own segment.

  The compiler can't divide a kernel over devices, so it is told how: rows are split over the mesh
  axis 'data' and heads over 'model', where these divide them.

  Args:
    q_BxNxTxH: queries, T a multiple of 128; head n reads the key-value head n // (N / K).
    k_BxKxTxH: keys.
    v_BxKxTxH: values.
    segments_BxT: of each token.
    interpret: run on any platform, slowly.
  """
  mesh = jax.sharding.get_abstract_mesh()
  T, H = q_BxNxTxH.shape[2:]
  side = next(n for n in _BLOCKS if T % n == 0)
  kinds = ('q', 'kv', 'kv_compute', 'q_dkv', 'kv_dkv', 'kv_dkv_compute', 'q_dq', 'kv_dq')
  blocks = splash.BlockSizes(**{f'block_{kind}': side for kind in kinds})

  def local(q, k, v, segments_BxT):
    mask = splash.MultiHeadMask([splash.CausalMask((T, T))] * q.shape[1])
    dials = dict(head_shards=1, q_seq_shards=1, block_sizes=blocks, interpret=interpret)
    kernel = splash.make_splash_mha(mask, **dials)
    return jax.vmap(kernel)(q * H**-0.5, k, v, splash.SegmentIds(segments_BxT, segments_BxT))

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
