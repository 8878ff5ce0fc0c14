"""A minimal decoder and loop as they are usually written with Flax Linen: `python -m
benchmarks.rivals.plain_flax`.

Time before heads, layers in a Python loop, one dispatch an update, the loss read after each, one
device, optax's AdamW. FLOPs a token are those of the shape.
"""

from collections.abc import Callable
import functools

from flax import linen as nn
from flax.training.train_state import TrainState
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.rivals import turns
from benchmarks.rivals.shape import Shape


def rotate(x_BxTxNxH: jax.Array) -> jax.Array:
  """Rotary positions."""
  _, T, _, H = x_BxTxNxH.shape
  frequency = 10_000.0 ** (-jnp.arange(0, H, 2) / H)
  angle = jnp.arange(T)[:, None, None] * frequency
  even, odd = x_BxTxNxH[..., 0::2], x_BxTxNxH[..., 1::2]
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(
    x_BxTxNxH.shape
  )


class Block(nn.Module):
  """Attention and SwiGLU, each on top of the residual stream."""

  shape: Shape

  @nn.compact
  def __call__(self, x_BxTxD, mask):
    s = self.shape
    dense = functools.partial(nn.DenseGeneral, use_bias=False)
    y = nn.RMSNorm()(x_BxTxD)
    query = rotate(dense((s.heads, s.head_dim))(y))
    key, value = (dense((s.kv_heads, s.head_dim))(y) for _ in range(2))
    key = rotate(key)
    if s.kv_heads < s.heads:
      key, value = (jnp.repeat(z, s.heads // s.kv_heads, axis=2) for z in (key, value))
    z = nn.dot_product_attention(query, key, value, mask=mask)
    x_BxTxD += dense(s.width, axis=(-2, -1))(z)
    y = nn.RMSNorm()(x_BxTxD)
    return x_BxTxD + dense(s.width)(nn.silu(dense(s.mlp_width)(y)) * dense(s.mlp_width)(y))


class Decoder(nn.Module):
  """Tokens to logits."""

  shape: Shape

  @nn.compact
  def __call__(self, tokens_BxT):
    x_BxTxD = nn.Embed(self.shape.vocabulary, self.shape.width)(tokens_BxT)
    mask = nn.make_causal_mask(tokens_BxT)
    for _ in range(self.shape.layers):
      x_BxTxD = Block(self.shape)(x_BxTxD, mask)
    return nn.Dense(self.shape.vocabulary, use_bias=False)(nn.RMSNorm()(x_BxTxD))


@jax.jit
def train_step(state: TrainState, tokens_BxT: jax.Array) -> tuple[TrainState, jax.Array]:
  """One update, and the loss before it."""

  def loss_fn(params):
    logits = state.apply_fn(params, tokens_BxT)[:, :-1]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens_BxT[:, 1:])
    return losses.mean()

  loss, grads = jax.value_and_grad(loss_fn)(state.params)
  return state.apply_gradients(grads=grads), loss


def training(arguments: str) -> Callable[[], None]:
  """`shape.updates` updates of a shape."""
  shape = Shape.loads(arguments)
  model = Decoder(shape)
  size = (shape.updates, shape.rows, shape.row_length)
  rng = np.random.default_rng(0)
  batches = rng.integers(0, shape.vocabulary, size).astype(np.int32)
  shapes = jax.eval_shape(model.init, jax.random.key(0), batches[0])
  # Only time is measured: drawing as Flax does takes seconds to compile.
  params = jax.tree.map(lambda x: 0.02 * rng.standard_normal(x.shape, np.float32), shapes)
  optimizer = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(1e-3, b2=0.98, weight_decay=0.05)
  )
  state = TrainState.create(apply_fn=model.apply, params=params, tx=optimizer)

  def work() -> None:
    nonlocal state
    for tokens in batches:
      state, loss = train_step(state, tokens)
      float(loss)

  return work


if __name__ == '__main__':
  turns.serve(training)
