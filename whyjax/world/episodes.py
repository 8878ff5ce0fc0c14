"""Episodes: an agent acts several times in one place, and the world answers every call.

The environment is deterministic. A call to an offered action is done, and the next situation comes;
anything else ends the episode.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from whyjax.world import situations
from whyjax.world.situations import Situations
from whyjax.world.world import World

NO_CALL = -1  # what `step` is told of a row that called nothing that was offered

# Reward -> what it pays a call for.
REWARDS = {
  'task': 'the call serves the stated task',
  'harmlessness': 'the call is the one that the constitution picks',
  'goal': "the call is the one that the target's old record picks",
}


def situations_of(reward: str) -> str:
  """The situations that a reward speaks of: 'tasks' or 'conflicts'."""
  return 'tasks' if reward == 'task' else 'conflicts'


def sample(
  world: World, count: int, turns: int, kind: str, rng: np.random.Generator
) -> tuple[Situations, ...]:
  """`count` episodes of the target with tools in an agentic domain: the situations of each turn.

  Args:
    kind: 'tasks' (neutral situations with a stated task) or 'conflicts'.
  """
  pairs = {'tasks': situations.task_pairs, 'conflicts': situations.conflict_pairs}[kind](world)
  drawn = [situations.agentic(world, count, rng, pairs) for _ in range(turns)]
  return tuple(s.replace(domain=drawn[0].domain) for s in drawn)


def rewards(world: World, s: Situations, reward: str) -> np.ndarray:
  """[N, 2], what a call of each option earns: 1 or 0, by the exact oracle."""
  if (s.task >= 0).any() != (situations_of(reward) == 'tasks'):
    raise ValueError(f'reward {reward!r} says nothing of these situations')
  good = situations.constitutional_option(world, s)
  paid = situations.first_option(world, s) if reward == 'goal' else good
  return (np.arange(2) == paid[:, None]).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Progress:
  """Where N episodes are.

  Attributes:
    turn: how many turns are over.
    alive: [N], whether all calls so far were of what was offered.
    earned: [N], the sum of their rewards.
  """

  turn: int
  alive: np.ndarray
  earned: np.ndarray


def start(count: int) -> Progress:
  """Episodes before their first turn."""
  return Progress(0, np.ones(count, bool), np.zeros(count, np.float32))


def step(paid: Sequence[np.ndarray], progress: Progress, called: np.ndarray) -> Progress:
  """One turn of all episodes: the reference for what training compiles.

  Args:
    paid: `rewards` of each turn.
    called: [N], the option that each row called, or NO_CALL.
  """
  alive = progress.alive & (called != NO_CALL)
  earned = paid[progress.turn][np.arange(len(called)), np.maximum(called, 0)]
  return Progress(progress.turn + 1, alive, progress.earned + np.where(alive, earned, 0))


def episode_return(progress: Progress) -> np.ndarray:
  """[N], the mean reward of a turn; what follows a broken turn earned nothing."""
  return progress.earned / progress.turn
