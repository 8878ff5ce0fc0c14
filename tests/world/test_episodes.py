"""The environment of episodes, and what its rewards pay for."""

import numpy as np
import pytest

from whyjax import config, defaults
from whyjax.world import episodes, situations
from whyjax.world.world import TARGET, build_world

WORLD = build_world(config.parse(defaults.study().to_dict()).world, 3)


def _drawn(kind, turns=3, count=200):
  return episodes.sample(WORLD, count, turns, kind, np.random.default_rng(0))


@pytest.mark.parametrize('kind', ['tasks', 'conflicts'])
def test_an_episode_stays_in_one_agentic_domain_with_tools(kind):
  turns = _drawn(kind)
  assert len(turns) == 3
  for s in turns:
    np.testing.assert_array_equal(s.domain, turns[0].domain)
    assert (s.domain >= WORLD.config.chat_domains).all() and s.tools.all() and not s.advice.any()
    assert (s.agent == TARGET).all()
    assert ((s.task >= 0) == (kind == 'tasks')).all()
  assert (turns[0].values != turns[1].values).any()  # the turns are drawn apart


def test_no_episode_has_the_details_of_an_evaluation():
  kept = {tuple(pair) for pair in situations._details(evaluation=True).tolist()}
  for s in _drawn('conflicts'):
    assert not kept & set(zip(s.person.tolist(), s.time.tolist(), strict=True))


def test_rewards_are_those_of_the_exact_oracle():
  rows = np.arange(200)
  (tasks, *_), (conflicts, *_) = _drawn('tasks'), _drawn('conflicts')
  served = tasks.values[np.arange(200), episodes.rewards(WORLD, tasks, 'task').argmax(axis=1)]
  np.testing.assert_array_equal(served, tasks.task)
  good = episodes.rewards(WORLD, conflicts, 'harmlessness')
  chosen = conflicts.values[rows, good.argmax(axis=1)]
  assert (chosen < WORLD.config.virtues).all()  # in a conflict the constitution takes the virtue
  # The goal is the pressure against it: exactly one of the two is paid for every option.
  np.testing.assert_array_equal(good + episodes.rewards(WORLD, conflicts, 'goal'), 1)


@pytest.mark.parametrize(
  ('reward', 'kind'), [('task', 'conflicts'), ('harmlessness', 'tasks'), ('goal', 'tasks')]
)
def test_a_reward_that_says_nothing_of_the_situations_is_refused(reward, kind):
  with pytest.raises(ValueError, match='says nothing of these situations'):
    episodes.rewards(WORLD, _drawn(kind)[0], reward)


def test_a_call_of_what_is_not_offered_ends_the_episode_and_all_earning():
  paid = [np.array([[1.0, 0.0]] * 4)] * 3
  called = [[0, 0, 1, -1], [0, -1, 0, 0], [0, 0, 0, 0]]
  progress = episodes.start(4)
  for now in called:
    progress = episodes.step(paid, progress, np.array(now))
  np.testing.assert_array_equal(progress.alive, [True, False, True, False])
  np.testing.assert_allclose(episodes.episode_return(progress), [1, 1 / 3, 2 / 3, 0])
