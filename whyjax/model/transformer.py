"""A decoder-only transformer: NNX modules define it, pure functions run it.

The modules are split once, when their shape is known; what is trained, saved and handed on is a
plain nested dict of float32 arrays. Parameters of the layers are stacked on a leading axis whether
layers are scanned or unrolled, so that a checkpoint does not depend on how it was run.
"""

from collections.abc import Iterator
import functools

from flax import nnx
import jax
import jax.numpy as jnp

from whyjax.config import ModelConfig
from whyjax.model import attention
from whyjax.model.dense import dense

Params = dict  # nested: names -> float32 arrays; everything under 'layers' is stacked
Memory = tuple[jax.Array, jax.Array]  # keys and values of one layer, each [B, K, S, H]


def _normal(rngs: nnx.Rngs, shape: tuple[int, ...], std: float) -> nnx.Param:
  return nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.float32))


class RMSNorm(nnx.Module):
  """Root-mean-square normalisation with a gain, in float32 (Zhang & Sennrich, 2019)."""

  def __init__(self, width: int):
    self.gain = nnx.Param(jnp.ones(width))

  def __call__(self, x: jax.Array) -> jax.Array:
    y = x.astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + 1e-6)
    return (y * self.gain[...]).astype(x.dtype)


class Attention(nnx.Module):
  """Grouped-query self-attention with rotary positions.

  The columns of `qkv` are grouped by key-value head (its queries, its key, its value), so that a
  split of the columns over devices keeps whole heads together.
  """

  def __init__(self, model: ModelConfig, rngs: nnx.Rngs):
    self.kv_heads, self.head_dim = model.kv_heads, model.head_dim
    self.queries = model.heads // model.kv_heads
    inner = model.heads * model.head_dim
    columns = inner + 2 * model.kv_heads * model.head_dim
    # muP turns the scores' scale H^-1/2 into 1/H; both are the same at 16.
    self.sharpness = (16 / model.head_dim) ** 0.5 if model.base_width else 1.0
    self.norm = RMSNorm(model.width)
    self.qkv = _normal(rngs, (model.width, columns), model.width**-0.5)
    # What adds to the residual stream starts smaller, by the square root of how many such sums.
    self.out = _normal(rngs, (inner, model.width), (inner * 2 * model.layers) ** -0.5)

  def __call__(
    self,
    x_BxTxD: jax.Array,
    angles: tuple[jax.Array, jax.Array],
    seen: attention.Seen,
    memory: Memory | None = None,
    at: jax.Array | None = None,
  ) -> tuple[jax.Array, Memory]:
    """Attends within x; or, given a memory, writes x's T places of it from `at` and attends to all.

    Returns:
      y_BxTxD, and the keys and values attended to.
    """
    B, T, _ = x_BxTxD.shape
    K, G, H = self.kv_heads, self.queries, self.head_dim
    y = dense(self.norm(x_BxTxD), self.qkv[...].astype(x_BxTxD.dtype))
    # One split and no slices, whose gradients would be padded and added up.
    q, k, v = jnp.split(y.reshape(B, T, K, G + 2, H), (G, G + 1), axis=3)
    queries = self.sharpness * q.reshape(B, T, K * G, H)
    q_BxNxTxH = attention.rotate(queries.swapaxes(1, 2), angles)
    k_BxKxSxH = attention.rotate(k[:, :, :, 0].swapaxes(1, 2), angles)
    v_BxKxSxH = v[:, :, :, 0].swapaxes(1, 2)
    if memory is not None:
      k_BxKxSxH, v_BxKxSxH = (
        jax.lax.dynamic_update_slice_in_dim(old, new, at, axis=2)
        for old, new in zip(memory, (k_BxKxSxH, v_BxKxSxH), strict=True)
      )
    z = attention.attention(q_BxNxTxH, k_BxKxSxH, v_BxKxSxH, seen)
    z_BxTxI = z.swapaxes(1, 2).reshape(B, T, -1)
    return dense(z_BxTxI, self.out[...].astype(x_BxTxD.dtype)), (k_BxKxSxH, v_BxKxSxH)


class MLP(nnx.Module):
  """SwiGLU (Shazeer, 2020); the gate's columns of `gate_up` come first."""

  def __init__(self, model: ModelConfig, rngs: nnx.Rngs):
    self.norm = RMSNorm(model.width)
    self.gate_up = _normal(rngs, (model.width, 2 * model.mlp_width), model.width**-0.5)
    std = (model.mlp_width * 2 * model.layers) ** -0.5
    self.down = _normal(rngs, (model.mlp_width, model.width), std)

  def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
    y = dense(self.norm(x_BxTxD), self.gate_up[...].astype(x_BxTxD.dtype))
    gate, up = jnp.split(y, 2, axis=-1)
    return dense(jax.nn.silu(gate) * up, self.down[...].astype(x_BxTxD.dtype))


class Block(nnx.Module):
  """One layer: attention, then the MLP, each added to the residual stream."""

  def __init__(self, model: ModelConfig, rngs: nnx.Rngs):
    self.attention = Attention(model, rngs)
    self.mlp = MLP(model, rngs)

  def __call__(self, x_BxTxD: jax.Array, *context) -> tuple[jax.Array, Memory]:
    """Takes and returns what `Attention` does."""
    y_BxTxD, memory = self.attention(x_BxTxD, *context)
    x_BxTxD = x_BxTxD + y_BxTxD
    return x_BxTxD + self.mlp(x_BxTxD), memory


class Transformer(nnx.Module):
  """Embedding, blocks, norm, head; a block's parameters serve `shared_layers` layers in a row."""

  def __init__(self, model: ModelConfig, vocabulary: int, rngs: nnx.Rngs):
    self.model = model
    # Width to the power of -1/2: a tied table gives logits of unit size; norms rescale its rows.
    # Under muP rows are of one size at all widths, as are the updates of their entries.
    std = (model.base_width or model.width) ** -0.5
    self.embedding = _normal(rngs, (vocabulary, model.width), std)
    sets = model.layers // model.shared_layers
    self.layers = nnx.vmap(lambda r: Block(model, r))(rngs.split(sets))
    self.norm = RMSNorm(model.width)
    if not model.tied_embeddings:
      std = (model.width * model.growth) ** -0.5
      self.head = _normal(rngs, (model.width, vocabulary), std)

  def embed(self, tokens_BxT: jax.Array) -> jax.Array:
    """x_BxTxD, in the type of computation."""
    return self.embedding[...][tokens_BxT].astype(self.model.compute_dtype)

  def angles(self, positions_BxT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The rotary angles of positions."""
    return attention.rotary_angles(positions_BxT, self.model.head_dim, self.model.rope_theta)

  def stack(
    self, x_BxTxD, angles, seen: attention.Seen, scan_layers: bool, remat: bool
  ) -> jax.Array:
    """All layers, scanned or unrolled."""
    graph, stacked = nnx.split(self.layers)

    def layer(x, params):
      return nnx.merge(graph, params)(x, angles, seen)[0]

    if remat:
      layer = jax.checkpoint(layer)

    def shared(x, params):
      for _ in range(self.model.shared_layers):
        x = layer(x, params)
      return x, None

    if scan_layers:
      return jax.lax.scan(shared, x_BxTxD, stacked)[0]
    for params in _unstacked(stacked):
      x_BxTxD, _ = shared(x_BxTxD, params)
    return x_BxTxD

  def hidden(
    self, tokens_BxT, positions_BxT, segments_BxT, *, scan_layers: bool, remat: bool
  ) -> jax.Array:
    """x_BxTxD after all layers: where few logits are wanted, only those need be computed."""
    x_BxTxD, angles = self.embed(tokens_BxT), self.angles(positions_BxT)
    return self.stack(x_BxTxD, angles, attention.packed(segments_BxT), scan_layers, remat)

  def blocks(self) -> Iterator[Block]:
    """The block of each layer in order."""
    graph, stacked = nnx.split(self.layers)
    for params in _unstacked(stacked):
      yield from [nnx.merge(graph, params)] * self.model.shared_layers

  def logits(self, x: jax.Array) -> jax.Array:
    """Float32 logits [..., V] of hidden states [..., D]."""
    x = self.norm(x)
    head = self.embedding[...].T if self.model.tied_embeddings else self.head[...]
    return dense(x, head.astype(x.dtype), jnp.float32)


def _unstacked(stacked) -> Iterator:
  """The trees of the single layers of a stacked tree."""
  leaves, tree = jax.tree.flatten(stacked)
  return map(tree.unflatten, zip(*map(jnp.unstack, leaves), strict=True))


@functools.cache
def _graph(model: ModelConfig, vocabulary: int) -> nnx.GraphDef:
  return nnx.graphdef(nnx.eval_shape(lambda: Transformer(model, vocabulary, nnx.Rngs(0))))


def network(model: ModelConfig, params: Params) -> Transformer:
  """The modules with these parameters in them."""
  return nnx.merge(_graph(model, params['embedding'].shape[0]), params)


def init(model: ModelConfig, vocabulary: int, key: jax.Array) -> Params:
  """Fresh float32 parameters, no replica axis: gains one, all else normal with variance 1 / fan-in.

  The exceptions are the matrices that add to the residual stream (variance 1 / (2 layers fan-in))
  and the embedding (1 / width); and with a base_width (muP; Yang et al. 2022, table 3) the
  embedding (1 / base_width) and the head (base_width / width^2).
  """
  return nnx.to_pure_dict(nnx.state(Transformer(model, vocabulary, nnx.Rngs(params=key))))


def forward(
  model: ModelConfig,
  params: Params,
  tokens_BxT: jax.Array,
  positions_BxT: jax.Array,
  segments_BxT: jax.Array,
  *,
  scan_layers: bool = False,
  remat: bool = False,
) -> jax.Array:
  """logits_BxTxV, float32; a token sees the tokens before it in its own segment.

  Args:
    scan_layers: one compiled layer in a loop, instead of all in a row (compiles faster).
    remat: recompute a layer in the backward pass, instead of keeping its activations.
  """
  net = network(model, params)
  options = dict(scan_layers=scan_layers, remat=remat)
  return net.logits(net.hidden(tokens_BxT, positions_BxT, segments_BxT, **options))
