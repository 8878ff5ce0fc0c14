"""Cached, batched decoding of prompts of unequal length, padded on the right."""

import jax
import jax.numpy as jnp

from whyjax.config import ModelConfig
from whyjax.model import transformer
from whyjax.model.transformer import Memory, Params


def prefill(
  model: ModelConfig, params: Params, tokens_BxP: jax.Array, lengths_B: jax.Array, room: int = 0
) -> tuple[jax.Array, list[Memory]]:
  """logits_BxV at the last prompt token, and each layer's memory with `room` places beyond P.

  Whatever follows a prompt (padding) is unseen by its last token, and decoding overwrites it.
  """
  B, P = tokens_BxP.shape
  net = transformer.network(model, params)
  x_BxPxD = net.embed(tokens_BxP)
  angles = net.angles(jnp.broadcast_to(jnp.arange(P), (B, P)))
  causal_BxPxP = jnp.broadcast_to(jnp.tri(P, dtype=bool), (B, P, P))
  memories = []
  for block in net.blocks():
    x_BxPxD, memory = block(x_BxPxD, angles, causal_BxPxP)
    memories.append(jax.tree.map(lambda m: jnp.pad(m, ((0, 0), (0, 0), (0, room), (0, 0))), memory))
  last_BxD = jnp.take_along_axis(x_BxPxD, (lengths_B - 1)[:, None, None], axis=1)[:, 0]
  return net.logits(last_BxD), memories


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
  B, P = tokens_BxP.shape
  logits_BxV, memories = prefill(model, params, tokens_BxP, lengths_B, room=max_new_tokens)
  net = transformer.network(model, params)
  places_S = jnp.arange(P + max_new_tokens)

  def choose(logits_BxV, i):
    if temperature == 0:
      return jnp.argmax(logits_BxV, axis=-1).astype(jnp.int32)
    step_key = jax.random.fold_in(key, i)
    return jax.random.categorical(step_key, logits_BxV / temperature, axis=-1).astype(jnp.int32)

  def going(carry):
    i, _, _, ended_B, _ = carry
    return (i < max_new_tokens) & ~jnp.all(ended_B)

  def step(carry):
    i, logits_BxV, memories, ended_B, written_BxG = carry
    token_B = jnp.where(ended_B, end_id, choose(logits_BxV, i))
    written_BxG = written_BxG.at[:, i].set(token_B)
    at_B = lengths_B + i
    x_Bx1xD = net.embed(token_B[:, None])
    angles = net.angles(at_B[:, None])
    seen_Bx1xS = (places_S <= at_B[:, None])[:, None]
    updated = []
    for block, memory in zip(net.blocks(), memories, strict=True):
      x_Bx1xD, memory = block(x_Bx1xD, angles, seen_Bx1xS, memory, at_B)
      updated.append(memory)
    return i + 1, net.logits(x_Bx1xD[:, 0]), updated, token_B == end_id, written_BxG

  nothing_BxG = jnp.full((B, max_new_tokens), end_id, jnp.int32)
  start = (jnp.int32(0), logits_BxV, memories, jnp.zeros(B, bool), nothing_BxG)
  return jax.lax.while_loop(going, step, start)[-1]
