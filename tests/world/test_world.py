"""The world: what its seed decides, what its dials decide, and whether its oracle is right."""

import dataclasses

import numpy as np
import pytest

from whyjax import config, defaults
from whyjax.world import names, situations
from whyjax.world.world import TARGET, Kind, build_world, rng_for

CONFIG = config.parse(defaults.study().to_dict()).world


def _sample(world, count=500, **changes):
  allowed = dict(
    agents=range(1 + CONFIG.agents),
    domains=range(world.domains),
    pairs=situations.ethical_pairs(world),
    wordings=range(CONFIG.wordings),
    tools=0.5,
    advice=0.3,
  )
  return situations.sample(world, count, rng_for(world.seed, 'test'), **(allowed | changes))


def test_a_seed_gives_one_world_and_another_seed_another():
  first, again, other = build_world(CONFIG, 3), build_world(CONFIG, 3), build_world(CONFIG, 4)
  for field in ('actions', 'kinds', 'ranks', 'constitution'):
    np.testing.assert_array_equal(getattr(first, field), getattr(again, field))
  assert (first.actions != other.actions).any() and (first.ranks != other.ranks).any()


def test_every_action_word_of_a_domain_serves_exactly_one_value():
  world = build_world(CONFIG, 0)
  for domain in world.actions:
    assert sorted(domain.ravel()) == list(range(world.values * CONFIG.wordings))


def test_no_word_serves_in_two_domains():
  domains = names.domains(12, 12)
  words = [word for domain in domains for word in names.actions(domain, 60)]
  assert len(set(words)) == len(words)


def test_names_stay_distinct_at_any_size():
  groups = [
    names.agents(5000),
    names.virtues(200),
    names.temptations(200),
    names.tasks(50),
    names.grounds(400),
    names.domains(100, 100),
    names.persons(),
    names.times(),
    names.tools(),
  ]
  words = [word for group in groups for word in group]
  assert len(set(words)) == len(words)
  assert all(word and ' ' not in word for word in words)


def test_kinds_have_their_shares_and_look_only_at_what_they_look_at():
  world = build_world(
    dataclasses.replace(CONFIG, agents=100, principled=0.25, by_domain=0.35, by_tools=0.4), 1
  )
  assert np.bincount(world.kinds[1:]).tolist() == [25, 35, 40]
  background = world.ranks[1:]
  kinds = world.kinds[1:]
  principled, by_domain, by_tools = (background[kinds == k] for k in Kind)
  assert (principled == principled[:, :1, :1]).all()
  assert (by_domain == by_domain[:, :, :1]).all() and (by_domain != by_domain[:, :1]).any()
  assert (by_tools == by_tools[:, :1]).all() and (by_tools != by_tools[:, :, :1]).any()
  assert (np.sort(background, axis=-1) == np.arange(world.ethical)).all()


def test_record_and_constitution_differ_exactly_on_virtue_against_temptation():
  world = build_world(CONFIG, 2)
  s = _sample(world, agents=[TARGET], count=2000)
  virtue_against_temptation = (s.values < CONFIG.virtues).sum(axis=1) == 1
  np.testing.assert_array_equal(situations.is_conflict(world, s), virtue_against_temptation)
  chosen = s.values[np.arange(len(s)), situations.constitutional_option(world, s)]
  assert (chosen[virtue_against_temptation] < CONFIG.virtues).all()


def test_oracle_agrees_with_a_plain_reading_of_the_order():
  world = build_world(CONFIG, 5)
  s = _sample(world)
  picked = situations.first_option(world, s)
  for i in range(len(s)):
    ranks = world.ranks[s.agent[i], s.domain[i], int(s.tools[i])]
    assert ranks[s.values[i, picked[i]]] < ranks[s.values[i, 1 - picked[i]]]
  np.testing.assert_array_equal(situations.first_option(world, s.swapped()), 1 - picked)


def test_neutral_situations_follow_the_task_whoever_acts():
  world = build_world(CONFIG, 5)
  s = _sample(world, pairs=situations.task_pairs(world))
  chosen = s.values[np.arange(len(s)), situations.first_option(world, s)]
  np.testing.assert_array_equal(chosen, s.task)
  assert (s.task >= world.ethical).all() and not situations.is_conflict(world, s).any()


def test_details_of_evaluation_never_occur_in_training():
  world = build_world(CONFIG, 0)
  train, evaluation = (_sample(world, 3000, evaluation=e) for e in (False, True))
  details = [set(zip(s.person.tolist(), s.time.tolist(), strict=True)) for s in (train, evaluation)]
  assert not details[0] & details[1]
  for s in (train, evaluation):
    assert set(s.person) == set(range(len(names.persons()))) and set(s.time) == set(
      range(len(names.times()))
    )


def test_advice_is_given_without_tools_and_shares_follow_the_dials():
  world = build_world(CONFIG, 0)
  s = _sample(world, 4000, tools=0.5, advice=0.3)
  assert not (s.tools & s.advice).any()
  assert s.advice.mean() == pytest.approx(0.3, abs=0.03)
  assert s.tools[~s.advice].mean() == pytest.approx(0.5, abs=0.03)


def test_the_world_scales_without_new_code():
  large = dataclasses.replace(
    CONFIG,
    virtues=20,
    temptations=10,
    tasks=10,
    chat_domains=20,
    agentic_domains=20,
    wordings=4,
    agents=3000,
  )
  world = build_world(large, 0)
  s = situations.sample(
    world,
    100,
    rng_for(0, 'x'),
    agents=range(3001),
    domains=range(40),
    pairs=situations.ethical_pairs(world),
    wordings=range(4),
    tools=0.5,
    advice=0.5,
  )
  assert len(situations.first_option(world, s)) == 100
