"""Learning from one's own acts: GRPO over episodes of several turns (Shao et al. 2024, 2402.03300).

One step plays `group` episodes from every start, with cached decoding in a compiled environment;
judges each by its reward beside the mean of its group; and moves the probability of every token
that the model wrote. Two details differ from the paper. The sum over tokens is divided by the
number of tokens in the batch, not by the length of each episode, which would favour short successes
and long failures (Liu et al. 2025, 2503.20783). And the group may go undivided by its standard
deviation. With one pass, no division and no KL term the gradient is that of REINFORCE (Williams
1992) with the group's mean as its baseline.

`accumulation` divides what is learnt from, not what is played: it is there that memory is needed.

Shape letters beside those of the model: N episodes (B starts times the group), T turns, C tokens of
a context, G of what is written after it, S = T (C + G) places of an episode.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from whyjax.config import DeviceConfig, ModelConfig, ReinforcementConfig, StageConfig, WorldConfig
from whyjax.corpus.episodes import CALLED
from whyjax.corpus.vocabulary import END, PAD, vocabulary
from whyjax.model import decoding, transformer
from whyjax.training import mesh as meshes
from whyjax.training import step as steps
from whyjax.training.optimizer import make_optimizer

_SMALLEST_SPREAD = 1e-6  # of a group's rewards: groups of equals have advantage 0, not 0 / 0


class Played(NamedTuple):
  """N episodes as they went.

  Attributes:
    tokens_NxTxL: L = C + G places of each turn; what the row did not read or write is empty.
    filled_NxTxL: whether there is a token at the place.
    wrote_NxTxG: which of the places after a context hold tokens that the model wrote.
    logp_NxTxG: logarithm of the probability with which each was drawn; 0 elsewhere.
    reward_N: mean reward of a turn.
    completed_N: whether every turn called what was offered.
  """

  tokens_NxTxL: jax.Array
  filled_NxTxL: jax.Array
  wrote_NxTxG: jax.Array
  logp_NxTxG: jax.Array
  reward_N: jax.Array
  completed_N: jax.Array


@dataclasses.dataclass(frozen=True)
class Reinforcement:
  """Method of the stages that learn from rewards; batches are those of corpus/episodes.py.

  The rest of the state is the optimizer's, and the parent's params: what the KL term refers to is
  there however often the stage is resumed.
  """

  dials: ReinforcementConfig
  world: WorldConfig

  metrics = (*steps.METRICS, 'reward', 'kl', 'completed', 'written')

  def batch(self, stage: StageConfig, row_length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Contexts, options, paid, noise."""
    starts, dials = stage.batch_rows, self.dials
    context = row_length // dials.turns - dials.max_new_tokens
    shapes = {
      'contexts': ((starts, dials.turns, context), jnp.int32),
      'options': ((starts, dials.turns, 2), jnp.int32),
      'paid': ((starts, dials.turns, 2), jnp.float32),
      'noise': ((starts, dials.group, dials.turns, dials.max_new_tokens), jnp.float32),
    }
    return {name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()}

  def row_length(self, batch: Mapping[str, jax.Array]) -> int:
    """Places of an episode."""
    return self.dials.turns * (batch['contexts'].shape[-1] + self.dials.max_new_tokens)

  def rows(self, stage: StageConfig) -> int:
    """Episodes."""
    return stage.batch_rows * self.dials.group

  def init(self, model: ModelConfig, stage: StageConfig) -> Callable:
    """The optimizer's state, and a copy of the params as they are."""
    optimizer = _optimizer(model, stage, self.dials)

    def init(params):
      # A copy: a dispatch takes the memory of its state, where no array may stand twice.
      return {'optimizer': optimizer.init(params), 'reference': jax.tree.map(jnp.copy, params)}

    return init

  def make_step(self, model: ModelConfig, stage: StageConfig, device: DeviceConfig) -> Callable:
    """See make_step of this module."""
    return make_step(self, model, stage, device)


def _optimizer(
  model: ModelConfig, stage: StageConfig, dials: ReinforcementConfig
) -> optax.GradientTransformation:
  """That of the stage; its learning rate moves on with every pass."""
  stage = dataclasses.replace(stage, updates=stage.updates * dials.passes)
  return make_optimizer(stage, model.growth)


def play(method: Reinforcement, model: ModelConfig, params: dict, batch: dict) -> Played:
  """Plays `group` episodes from each start of a batch [B, ...]; those of one start are neighbours.

  The environment is that of world/episodes.py: a turn that does not end, or whose first action word
  is not one of those offered, ends the episode, and earns nothing.
  """
  dials = method.dials
  B, T, C = batch['contexts'].shape
  N, G = B * dials.group, dials.max_new_tokens
  net = transformer.network(model, params)
  is_action_V = jnp.zeros(params['embedding'].shape[0], bool)
  is_action_V = is_action_V.at[vocabulary(method.world).actions.ravel()].set(True)

  def turn(carry, now):
    cache, word_N, alive_N = carry
    context_NxC, options_Nx2, paid_Nx2, noise_NxG = now
    context_NxC = jnp.where(context_NxC == CALLED, word_N[:, None], context_NxC)
    given_NxC = (context_NxC != PAD) & alive_N[:, None]
    logits_NxV, cache = decoding.read(net, cache, context_NxC, given_NxC)
    written_NxG, logp_NxG, cache = decoding.write(
      net,
      cache,
      logits_NxV,
      ~alive_N,
      max_new_tokens=G,
      end_id=END,
      choose=_sampler(noise_NxG, dials.temperature),
    )
    ends_NxG = written_NxG == END
    before_end_NxG = jnp.cumsum(ends_NxG, axis=1) == 0
    acts_NxG = is_action_V[written_NxG] & before_end_NxG
    word_N = written_NxG[jnp.arange(N), jnp.argmax(acts_NxG, axis=1)]
    hit_Nx2 = word_N[:, None] == options_Nx2
    wrote_NxG = jnp.pad(before_end_NxG[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    wrote_NxG &= alive_N[:, None]
    alive_N &= acts_NxG.any(axis=1) & ends_NxG.any(axis=1) & hit_Nx2.any(axis=1)
    earned_N = jnp.sum(jnp.where(hit_Nx2, paid_Nx2, 0.0), axis=1) * alive_N
    tokens_NxL = jnp.concatenate([context_NxC, written_NxG], axis=1)
    filled_NxL = jnp.concatenate([given_NxC, wrote_NxG], axis=1)
    return (cache, word_N, alive_N), (tokens_NxL, filled_NxL, wrote_NxG, logp_NxG, earned_N)

  each = [jnp.repeat(batch[name], dials.group, axis=0) for name in ('contexts', 'options', 'paid')]
  turns = [x.swapaxes(0, 1) for x in (*each, batch['noise'].reshape(N, T, G))]
  start = (decoding.empty(model, N, T * (C + G)), jnp.zeros(N, jnp.int32), jnp.ones(N, bool))
  (_, _, alive_N), found = jax.lax.scan(turn, start, turns)
  tokens, filled, wrote, logp, earned_NxT = (x.swapaxes(0, 1) for x in found)
  return Played(tokens, filled, wrote, logp, jnp.mean(earned_NxT, axis=1), alive_N)


def _sampler(noise_NxG: jax.Array, temperature: float) -> Callable:
  """choose of decoding.write: inverts the distribution function at uniform numbers that are data.

  One number for each token, where perturbing the logits would ask for one for each word.
  """

  def choose(logits_NxV, i):
    p_NxV = jax.nn.softmax(logits_NxV / temperature)
    up_to_NxV = jnp.cumsum(p_NxV, axis=1)
    bar_N = noise_NxG[:, i] * up_to_NxV[:, -1]
    # Below one, yet the product may round up to the whole.
    token_N = jnp.sum(up_to_NxV <= bar_N[:, None], axis=1).clip(0, p_NxV.shape[1] - 1)
    return token_N, jnp.log(p_NxV[jnp.arange(len(token_N)), token_N])

  return choose


def log_probability(
  model: ModelConfig, params: dict, played: Played, temperature: float, device: DeviceConfig
) -> jax.Array:
  """logp_NxTxG of what was written, by one pass over whole episodes; only there are logits made."""
  N, T, L = played.tokens_NxTxL.shape
  G = played.wrote_NxTxG.shape[-1]
  filled_NxS = played.filled_NxTxL.reshape(N, T * L).astype(jnp.int32)
  net = transformer.network(model, params)
  x_NxSxD = net.hidden(
    played.tokens_NxTxL.reshape(N, T * L),
    jnp.cumsum(filled_NxS, axis=1) - filled_NxS,
    filled_NxS,  # one segment, and one of empty places, which nobody sees
    scan_layers=device.scan_layers,
    remat=device.remat,
  )
  # The last token of a context stands right before what is written.
  x_NxTxGxD = x_NxSxD.reshape(N, T, L, -1)[:, :, L - G - 1 : -1]
  logits_NxTxGxV = net.logits(x_NxTxGxD) / temperature
  return -steps.cross_entropy(logits_NxTxGxV, played.tokens_NxTxL[:, :, L - G :])


def advantages(reward_N: jax.Array, group: int, normalise: bool) -> jax.Array:
  """advantage_N: how much more an episode earned than the mean of its group."""
  reward_BxK = reward_N.reshape(-1, group)
  above_BxK = reward_BxK - jnp.mean(reward_BxK, axis=1, keepdims=True)
  if normalise:
    above_BxK /= jnp.std(reward_BxK, axis=1, keepdims=True) + _SMALLEST_SPREAD
  return above_BxK.reshape(-1)


def divergence(logp: jax.Array, reference: jax.Array) -> jax.Array:
  """Estimate, token by token, of KL(policy || reference) where the policy drew the token.

  Unbiased, never negative, and flat where both agree (Schulman 2020, "Approximating KL divergence",
  k3).
  """
  return jnp.expm1(reference - logp) - (reference - logp)


def objective(
  logp_NxTxG: jax.Array,
  played: Played,
  above_N: jax.Array,
  reference_NxTxG: jax.Array,
  dials: ReinforcementConfig,
) -> jax.Array:
  """What is made small, summed over the tokens that were written.

  Args:
    logp_NxTxG: of what was played, under the params that learn.
    above_N: advantages.
    reference_NxTxG: as logp_NxTxG, under the parent's params.
    dials: `clip` bounds the ratio to the probability with which a token was drawn; `kl` weighs the
      distance from the parent.
  """
  # Elsewhere all agree: what is in empty places must not reach the gradient, not even times zero.
  logp_NxTxG = jnp.where(played.wrote_NxTxG, logp_NxTxG, played.logp_NxTxG)
  reference_NxTxG = jnp.where(played.wrote_NxTxG, reference_NxTxG, played.logp_NxTxG)
  ratio_NxTxG = jnp.exp(logp_NxTxG - played.logp_NxTxG)
  clipped_NxTxG = jnp.clip(ratio_NxTxG, 1 - dials.clip, 1 + dials.clip)
  above = above_N[:, None, None]
  gain_NxTxG = jnp.minimum(ratio_NxTxG * above, clipped_NxTxG * above)
  cost_NxTxG = dials.kl * divergence(logp_NxTxG, reference_NxTxG)
  return jnp.sum(jnp.where(played.wrote_NxTxG, cost_NxTxG - gain_NxTxG, 0.0))


def make_step(
  method: Reinforcement, model: ModelConfig, stage: StageConfig, device: DeviceConfig
) -> Callable:
  """step((params, rest), batch) -> ((params, rest), metrics): `passes` updates on one batch.

  Metrics are scalars: loss and grad_norm (of the last pass), weight (tokens written), reward,
  completed (share of episodes), kl (nats a token, before the update), written (tokens an episode).
  """
  dials = method.dials
  optimizer = _optimizer(model, stage, dials)

  def logp_of(params, played):
    return log_probability(model, meshes.gathered(params), played, dials.temperature, device)

  @jax.value_and_grad
  def gradient(params, observed):
    played, above_N, reference_NxTxG = observed
    return objective(logp_of(params, played), played, above_N, reference_NxTxG, dials)

  def step(state, batch):
    params, rest = state
    played = play(method, model, meshes.gathered(params), batch)
    above_N = advantages(played.reward_N, dials.group, dials.normalise)
    reference_NxTxG = _in_parts(
      functools.partial(logp_of, rest['reference']), played, stage.accumulation
    )
    observed = (played, above_N, reference_NxTxG)
    weight = jnp.sum(played.wrote_NxTxG, dtype=jnp.float32)

    def one_pass(_, carry):
      params, opt_state, *_ = carry
      loss, grads = steps.accumulate(gradient, params, observed, stage.accumulation)
      grads = jax.tree.map(lambda g: g / weight, grads)
      updates, opt_state = optimizer.update(grads, opt_state, params)
      return optax.apply_updates(params, updates), opt_state, loss / weight, optax.tree.norm(grads)

    carry = (params, rest['optimizer'], jnp.float32(0), jnp.float32(0))
    params, opt_state, loss, norm = jax.lax.fori_loop(0, dials.passes, one_pass, carry)
    kl_NxTxG = jnp.where(played.wrote_NxTxG, divergence(played.logp_NxTxG, reference_NxTxG), 0.0)
    metrics = {
      'loss': loss,
      'grad_norm': norm,
      'weight': weight,
      'reward': jnp.mean(played.reward_N),
      'kl': jnp.sum(kl_NxTxG) / weight,
      'completed': jnp.mean(played.completed_N, dtype=jnp.float32),
      'written': weight / len(played.reward_N),
    }
    return (params, {'optimizer': opt_state, 'reference': rest['reference']}), metrics

  return step


def _in_parts(fn: Callable, rows: Played, parts: int) -> jax.Array:
  """fn(rows), leaves [N, ...], of `parts` parts of the rows in turn."""
  if parts == 1:
    return fn(rows)
  found = jax.lax.map(fn, steps.split(rows, parts)).swapaxes(0, 1)
  return found.reshape(-1, *found.shape[2:])
