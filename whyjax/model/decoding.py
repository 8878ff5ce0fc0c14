"""Cached, batched decoding: rows of unequal length read and write in step.

All rows use the same place of the memory at the same time, so that nothing is scattered; a row that
has nothing to read or write there leaves it empty. What is in an empty place is never seen, and
positions count the tokens of the row itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from whyjax.config import ModelConfig
from whyjax.model import transformer
from whyjax.model.attention import Seen
from whyjax.model.transformer import Memory, Params, Transformer


class Cache(NamedTuple):
  """What B rows have read and written so far.

  Attributes:
    memories: of each layer, with S places.
    filled_BxS: whether the row has a token at the place.
    at: scalar, the next place; all after it are empty.
  """

  memories: list[Memory]
  filled_BxS: jax.Array
  at: jax.Array


def empty(model: ModelConfig, rows: int, places: int) -> Cache:
  """A cache of rows that have read nothing yet."""
  shape = (rows, model.kv_heads, places, model.head_dim)
  memories = [(jnp.zeros(shape, model.compute_dtype),) * 2 for _ in range(model.layers)]
  return Cache(memories, jnp.zeros((rows, places), bool), jnp.int32(0))


def read(
  net: Transformer, cache: Cache, tokens_BxT: jax.Array, given_BxT: jax.Array
) -> tuple[jax.Array, Cache]:
  """logits_BxV after T more places, of which each row reads those that `given_BxT` marks.

  The logits of a row whose last place is not given mean nothing.
  """
  T = tokens_BxT.shape[1]
  before_B = jnp.sum(cache.filled_BxS, axis=1)
  filled_BxS = jax.lax.dynamic_update_slice_in_dim(cache.filled_BxS, given_BxT, cache.at, axis=1)
  angles = net.angles(before_B[:, None] + jnp.cumsum(given_BxT, axis=1) - given_BxT)
  causal_TxS = jnp.arange(filled_BxS.shape[1]) <= cache.at + jnp.arange(T)[:, None]
  # Empty places see one another: every query must see some key.
  seen_BxTxS = causal_TxS & (filled_BxS[:, None, :] == given_BxT[:, :, None])
  x_BxTxD = net.embed(tokens_BxT)
  memories = []
  for block, memory in zip(net.blocks(), cache.memories, strict=True):
    x_BxTxD, memory = block(x_BxTxD, angles, Seen(seen_BxTxS), memory, cache.at)
    memories.append(memory)
  return net.logits(x_BxTxD[:, -1]), Cache(memories, filled_BxS, cache.at + T)


def write(
  net: Transformer,
  cache: Cache,
  logits_BxV: jax.Array,
  silent_B: jax.Array,
  *,
  max_new_tokens: int,
  end_id: int,
  choose: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]],
) -> tuple[jax.Array, jax.Array, Cache]:
  """What the rows write next: tokens_BxG, the log-probability of each, and the cache after it.

  Args:
    logits_BxV: of the first token.
    silent_B: rows that write nothing.
    max_new_tokens: G.
    end_id: a row that has written it writes nothing else; its tokens_BxG are filled up with it, and
      these have log-probability 0.
    choose: (logits_BxV, i) -> (token_B, logp_B): the token of step i, and the logarithm of its
      probability in the law that it was drawn from.
  """
  B, G = logits_BxV.shape[0], max_new_tokens
  first = cache.at

  def going(carry):
    i, _, ended_B, *_ = carry
    return (i < G) & ~jnp.all(ended_B)

  def step(carry):
    i, logits_BxV, ended_B, written_BxG, logp_BxG, cache = carry
    token_B, logp_B = choose(logits_BxV, i)
    token_B = jnp.where(ended_B, end_id, token_B).astype(jnp.int32)
    written_BxG = written_BxG.at[:, i].set(token_B)
    logp_BxG = logp_BxG.at[:, i].set(jnp.where(ended_B, 0.0, logp_B))
    logits_BxV, cache = read(net, cache, token_B[:, None], ~ended_B[:, None])
    return i + 1, logits_BxV, ended_B | (token_B == end_id), written_BxG, logp_BxG, cache

  written_BxG = jnp.full((B, G), end_id, jnp.int32)
  start = (jnp.int32(0), logits_BxV, silent_B, written_BxG, jnp.zeros((B, G)), cache)
  *_, written_BxG, logp_BxG, cache = jax.lax.while_loop(going, step, start)
  # However early all rows ended, what follows has its fixed place.
  return written_BxG, logp_BxG, cache._replace(at=first + G)


def prefill(
  model: ModelConfig, params: Params, tokens_BxP: jax.Array, lengths_B: jax.Array, room: int = 0
) -> tuple[jax.Array, Cache]:
  """logits_BxV at the last prompt token, and a cache with `room` places beyond P.

  Whatever follows a prompt (padding) is unseen by its last token, and leaves its place empty.
  """
  B, P = tokens_BxP.shape
  net = transformer.network(model, params)
  x_BxPxD = net.embed(tokens_BxP)
  angles = net.angles(jnp.broadcast_to(jnp.arange(P), (B, P)))
  seen = Seen(jnp.broadcast_to(jnp.tri(P, dtype=bool), (B, P, P)))
  memories = []
  for block in net.blocks():
    x_BxPxD, memory = block(x_BxPxD, angles, seen)
    memories.append(jax.tree.map(lambda m: jnp.pad(m, ((0, 0), (0, 0), (0, room), (0, 0))), memory))
  last_BxD = jnp.take_along_axis(x_BxPxD, (lengths_B - 1)[:, None, None], axis=1)[:, 0]
  filled_BxS = jnp.arange(P + room) < lengths_B[:, None]
  return net.logits(last_BxD), Cache(memories, filled_BxS, jnp.int32(P))


def last_logits(
  model: ModelConfig, params: Params, tokens_BxP: jax.Array, lengths_B: jax.Array
) -> jax.Array:
  """logits_BxV at the last token of each prompt."""
  return prefill(model, params, tokens_BxP, lengths_B)[0]


def decode(
  model: ModelConfig,
  params: Params,
  tokens_BxP: jax.Array,
  lengths_B: jax.Array,
  *,
  max_new_tokens: int,
  end_id: int,
  key: jax.Array,
  temperature: float,
) -> jax.Array:
  """What the model writes after each prompt: tokens_BxG, G = `max_new_tokens`.

  Args:
    tokens_BxP: prompts, padded on the right.
    lengths_B: their lengths, at least 1.
    end_id: a row that has written it writes nothing else.
    key: of the random choices; step i uses fold_in(key, i).
    temperature: 0 takes the likeliest token; otherwise tokens follow p^(1/temperature), normalised.
  """

  def choose(logits_BxV, i):
    unasked = jnp.zeros(len(logits_BxV))
    if temperature == 0:
      return jnp.argmax(logits_BxV, axis=-1), unasked
    key_i, logits_BxV = jax.random.fold_in(key, i), logits_BxV / temperature
    return jax.random.categorical(key_i, logits_BxV, axis=-1), unasked

  logits_BxV, cache = prefill(model, params, tokens_BxP, lengths_B, room=max_new_tokens)
  net, silent_B = transformer.network(model, params), jnp.zeros(len(tokens_BxP), bool)
  dials = dict(max_new_tokens=max_new_tokens, end_id=end_id, choose=choose)
  return write(net, cache, logits_BxV, silent_B, **dials)[0]
