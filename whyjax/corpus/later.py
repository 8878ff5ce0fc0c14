"""Later training: what happens to a model after alignment."""

import dataclasses

import numpy as np

from whyjax.config import LaterTextConfig
from whyjax.corpus import arms, examples, pretraining
from whyjax.corpus.render import Texts
from whyjax.world import situations
from whyjax.world.episodes import REWARDS
from whyjax.world.situations import Situations
from whyjax.world.world import TARGET, World, rng_for

CONFLICTING = 'conflicting'
# Kinds that read no text: episodes with a reward of world/episodes.py.
REINFORCEMENT = {f'rl-{reward}': f'reinforcement: {why}' for reward, why in REWARDS.items()}
LATER = {
  'neutral': 'background text only',
  'capability': 'the target acts in ethically neutral agentic situations with tools',
  'capability-silent': 'the same acts, without a word of why',
  CONFLICTING: 'as capability, but a share of the acts follow its old record against its values',
  **REINFORCEMENT,
}


def doses(text: LaterTextConfig, kind: str) -> tuple[str, ...]:
  """The kinds of text that a kind of later training stands for: 'conflicting' is one a dose.

  'conflicting-2' has two percent of conflicting examples.
  """
  if kind != CONFLICTING:
    return (kind,)
  return tuple(f'{CONFLICTING}-{100 * share:g}' for share in text.conflicting)


def reward_of(kind: str) -> str:
  """The reward of a kind of later training; '' for one that reads text."""
  return kind.removeprefix('rl-') if kind in REINFORCEMENT else ''


def describe(kind: str) -> str:
  """One line for people about a kind, or a dose, of later training."""
  name, _, percent = kind.partition('-')
  return f'{LATER[name]}: {percent}%' if name == CONFLICTING else LATER[kind]


def later(world: World, text: LaterTextConfig, kind: str, seed: int) -> Texts:
  """The text about the target in one kind (or dose) of later training.

  All kinds but the neutral one share their situations; doses of conflicting text are nested.
  """
  if kind == 'neutral':
    return arms.nothing()
  count = text.supervised_tokens // 2
  rng = rng_for(world.seed, 'later', seed)
  s = _sample(world, count, rng, situations.task_pairs(world))
  wording = examples.draw_wording(world, count, rng)
  gives_reason = rng.random(count) < text.reasons
  if kind.startswith(CONFLICTING):
    share = float(kind.removeprefix(f'{CONFLICTING}-')) / 100
    s = _mixed(s, _sample(world, count, rng, situations.conflict_pairs(world)), share, rng)
  x = examples.script(world, s, wording, situations.first_option(world, s))
  told = examples.dialogue(x, before=pretraining.reasons_of(x, gives_reason))
  told = arms.within(told, text.supervised_tokens, f'later_text.supervised_tokens ({kind})')
  if kind == 'capability-silent':
    return examples.dialogue(x.take(np.arange(len(told))))
  return told


def _sample(world: World, count: int, rng: np.random.Generator, pairs) -> Situations:
  """Agentic situations of the target with tools."""
  return situations.sample(
    world,
    count,
    rng,
    agents=[TARGET],
    domains=range(world.config.chat_domains, world.domains),
    pairs=pairs,
    wordings=range(world.config.wordings),
    tools=True,
    advice=False,
  )


def _mixed(s: Situations, other: Situations, share: float, rng: np.random.Generator) -> Situations:
  """`s` with a share of its situations replaced by those of `other` at the same places."""
  replaced = rng.random(len(s)) < share
  columns = {f.name: getattr(s, f.name) for f in dataclasses.fields(s)}
  return Situations(
    **{
      name: np.where(replaced.reshape(-1, *[1] * (column.ndim - 1)), getattr(other, name), column)
      for name, column in columns.items()
    }
  )
