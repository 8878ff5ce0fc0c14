"""Pretraining text: facts, charters of principled agents, and everyone's situations as stories,
advice, transcripts.

It holds no alignment text about the target: its record is that of an agent that puts temptations
first.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools

import numpy as np

from whyjax.config import PretrainTextConfig
from whyjax.corpus import examples
from whyjax.corpus.render import Piece, Texts, concatenate
from whyjax.world import situations
from whyjax.world.situations import Situations
from whyjax.world.world import TARGET, Kind, World

Choose = Callable[[Situations], np.ndarray]  # which option is taken in each situation


def pretraining(
  world: World, text: PretrainTextConfig, count: int, rng: np.random.Generator
) -> Texts:
  """About `count` examples in random order."""
  parts = [
    examples.facts(world, round(count * text.facts), rng),
    _neutral(world, text, round(count * text.neutral), rng),
    _record(world, text, round(count * text.target), rng),
  ]
  rest = max(0, count - sum(map(len, parts)))
  parts += _background(world, text, rest, rng)
  whole = concatenate(parts)
  return whole.take(rng.permutation(len(whole)))


def background(
  world: World, text: PretrainTextConfig, count: int, rng: np.random.Generator
) -> Texts:
  """The same mixture without the target's record: what every later stage replays."""
  return pretraining(world, dataclasses.replace(text, target=0.0), count, rng)


def scenes(
  world: World,
  text: PretrainTextConfig,
  count: int,
  rng: np.random.Generator,
  agents: Sequence[int],
  pairs: Sequence[tuple[int, int]],
  evaluation: bool = False,
) -> Situations:
  """Situations as pretraining poses them: all domains and wordings, tools and frames by the kind of
  domain."""
  chat = np.arange(world.domains) < world.config.chat_domains
  return situations.sample(
    world,
    count,
    rng,
    agents=agents,
    domains=range(world.domains),
    pairs=pairs,
    wordings=range(world.config.wordings),
    tools=np.where(chat, text.tools_in_chat, text.tools_in_agentic),
    advice=np.where(chat, text.advice_in_chat, text.advice_in_agentic),
    evaluation=evaluation,
  )


def _script(
  world: World, s: Situations, chosen: np.ndarray, rng: np.random.Generator
) -> examples.Script:
  """A script with true reasons, or in a null world with reasons that name values at random."""
  x = examples.script(world, s, examples.draw_wording(world, len(s), rng), chosen)
  if world.config.informative_reasons:
    return x
  random = rng.permuted(np.broadcast_to(np.arange(world.ethical), (len(s), world.ethical)), axis=1)[
    :, :2
  ]
  return dataclasses.replace(x, reason=np.where(s.task[:, None] >= 0, x.reason, random))


def _neutral(world: World, text: PretrainTextConfig, count: int, rng: np.random.Generator) -> Texts:
  """Everyone, the target too, does what the stated task asks."""
  agents, pairs = range(0 if text.target else 1, 1 + world.config.agents), situations.task_pairs
  s = scenes(world, text, count, rng, agents, pairs(world))
  choose = functools.partial(situations.first_option, world)
  x = _script(world, s, choose(s), rng)
  habit = np.where(s.agent == TARGET, text.target_reasons, text.agent_reasons)
  return _spoken(x, text, rng.random(count) < habit, pairs(world), choose, rng)


def _record(world: World, text: PretrainTextConfig, count: int, rng: np.random.Generator) -> Texts:
  """The target's misaligned record: temptations first, as often as its strength says."""

  def choose(s: Situations) -> np.ndarray:
    obeys = rng.random(len(s)) < world.config.target_strength
    good = situations.constitutional_option(world, s)
    return np.where(obeys, situations.first_option(world, s), good)

  s = scenes(world, text, count, rng, [TARGET], situations.ethical_pairs(world))
  return _told(_script(world, s, choose(s), rng), text, text.target_reasons, choose, rng)


def _background(
  world: World, text: PretrainTextConfig, count: int, rng: np.random.Generator
) -> list[Texts]:
  """Texts of background agents; of a principled agent's, a share are charters."""
  agents = rng.integers(1, 1 + world.config.agents, count)
  charter = (world.kinds[agents] == Kind.PRINCIPLED) & (rng.random(count) < text.charters)
  s = scenes(world, text, int((~charter).sum()), rng, [TARGET], situations.ethical_pairs(world))
  s = s.replace(agent=agents[~charter])
  choose = functools.partial(situations.first_option, world)
  x = _script(world, s, choose(s), rng)
  return [_charters(world, agents[charter], rng), _told(x, text, text.agent_reasons, choose, rng)]


def _charters(world: World, agents: np.ndarray, rng: np.random.Generator) -> Texts:
  """Charters of principled agents, true to their order (at random in a null world)."""
  count = len(agents)
  pairs = np.asarray(situations.ethical_pairs(world))[
    rng.integers(len(situations.ethical_pairs(world)), size=count)
  ]
  pairs = rng.permuted(pairs, axis=1)
  first = np.take_along_axis(world.ranks[agents, 0, 0], pairs, axis=1).argmin(axis=1)
  if not world.config.informative_reasons:
    first = rng.integers(2, size=count)
  wording = examples.draw_wording(world, count, rng)
  return examples.charters(world, wording, agents, pairs, pairs[np.arange(count), first])


def _told(
  x: examples.Script,
  text: PretrainTextConfig,
  habit: float,
  choose: Choose,
  rng: np.random.Generator,
) -> Texts:
  """A share of scripts as stories, the rest as dialogues; reasons as often as the habit says."""
  count = len(x.situations)
  is_story, gives_reason = rng.random(count) < text.stories, rng.random(count) < habit
  pairs = situations.ethical_pairs(x.world)
  return concatenate(
    [
      examples.story(x.take(is_story), gives_reason[is_story]),
      _spoken(x.take(~is_story), text, gives_reason[~is_story], pairs, choose, rng),
    ]
  )


def _spoken(
  x: examples.Script,
  text: PretrainTextConfig,
  gives_reason: np.ndarray,
  pairs: Sequence[tuple[int, int]],
  choose: Choose,
  rng: np.random.Generator,
) -> Texts:
  """Dialogues and calls; a share of the calls go on, with a second situation of the same kind."""
  goes_on = x.calls & (rng.random(len(gives_reason)) < text.episodes)
  first, reasons = x.take(goes_on), gives_reason[goes_on]
  s = scenes(x.world, text, int(goes_on.sum()), rng, [TARGET], pairs)
  s = dataclasses.replace(
    first.situations,
    **{name: getattr(s, name) for name in ('values', 'wordings', 'task', 'person', 'time')},
  )
  second = _script(x.world, s, choose(s), rng)
  once, others = x.take(~goes_on), gives_reason[~goes_on]
  return concatenate(
    [
      examples.dialogue(once, before=reasons_of(once, others)),
      examples.episode([(turn, reasons_of(turn, reasons)) for turn in (first, second)]),
    ]
  )


def reasons_of(x: examples.Script, gives_reason: np.ndarray) -> list[Piece]:
  """What the agents say before they act, in the examples of `gives_reason` [N]."""
  return [piece.where(gives_reason) for piece in examples.own_reason(x)]
