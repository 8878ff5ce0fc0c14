"""Items: frozen, answerable, and about what their battery says."""

import dataclasses

import numpy as np
import pytest

from whyjax import config, defaults
from whyjax.corpus import arms
from whyjax.corpus.vocabulary import vocabulary
from whyjax.evals import batteries
from whyjax.world import situations
from whyjax.world.world import TARGET, build_world

STUDY = config.parse(defaults.study().to_dict())
TEXT = dataclasses.replace(STUDY.align_text, value_pairs=4)  # two pairs are held out
WORLD = build_world(STUDY.world, 3)
WORDS = vocabulary(STUDY.world)
ITEMS = 80


def _build(name, seed=3):
  batteries.build.cache_clear()
  return batteries.build(STUDY.world, STUDY.pretrain_text, TEXT, name, ITEMS, seed)


def _scene(name):
  return batteries.scene(WORLD, STUDY.pretrain_text, TEXT, name, ITEMS)


def _prompt(prompts, i):
  return prompts.tokens[i, : prompts.lengths[i]].tolist()


@pytest.mark.parametrize('name', batteries.ABOUT)
def test_items_are_frozen_for_a_world_and_differ_between_worlds(name):
  assert _build(name).hash == _build(name).hash != _build(name, 4).hash


@pytest.mark.parametrize('name', batteries.ABOUT)
def test_right_and_wrong_are_different_answers(name):
  battery = _build(name)
  assert (battery.right != battery.wrong).all()
  assert battery.answers[battery.right].all() and battery.answers[battery.wrong].all()


@pytest.mark.parametrize('name', batteries.SITUATIONS)
def test_both_options_are_offered_once_and_in_both_orders(name):
  battery = _build(name)
  for i in range(ITEMS):
    options = [int(battery.right[i]), int(battery.wrong[i])]
    one, other = ([t for t in _prompt(p, i) if battery.answers[t]] for p in battery.forced)
    before, after = one[:-2], other[:-2]
    assert sorted(one[-2:]) == sorted(options) and one[-2:] == other[-2:][::-1]
    assert before == after and (len(before) == 4) == (name == 'agentic-episodes')
    if before:  # two options, the call of one, and its result; they serve tasks
      assert before[2] == before[3] in before[:2] and not set(before) & set(options)


@pytest.mark.parametrize('name', batteries.SITUATIONS)
def test_forced_scoring_adds_only_the_words_that_announce_an_action(name):
  battery = _build(name)
  for i in range(ITEMS):
    free, forced = _prompt(battery.free, i), _prompt(battery.forced[0], i)
    added = forced[len(free) :]
    assert forced[: len(free)] == free and 1 <= len(added) <= 4
    assert not battery.answers[added].any()
    assert (free[-1] == WORDS.ids[':']) == (name != 'acts-on-reasons')


def test_a_given_reason_puts_the_value_of_the_right_option_first():
  x, battery = _scene('acts-on-reasons'), _build('acts-on-reasons')
  values = {int(token): value for value, token in enumerate(WORDS.values)}
  for i in range(ITEMS):
    asked = _prompt(battery.free, i)
    named = [values[t] for t in asked[asked.index(WORDS.ids[':'], -14) :] if t in values]
    shown = x.situations.values[i]
    assert named == [shown[x.chosen[i]], shown[1 - x.chosen[i]]]


def test_every_battery_asks_about_what_it_says():
  chat = range(STUDY.world.chat_domains)
  trained = arms.training_domains(TEXT)
  far = ('agentic-tools', 'heldout-pairs', 'acts-on-reasons', 'charter-in-context')
  for name in ('in-distribution', 'heldout-wording', 'heldout-domain', *far):
    s = _scene(name).situations
    assert (s.agent == TARGET).all() and situations.is_conflict(WORLD, s).all()
    assert s.tools.all() == (name in far)
    assert not s.advice.any()
  assert set(_scene('in-distribution').situations.domain) == set(trained)
  assert not set(_scene('heldout-domain').situations.domain) & set(trained)
  assert set(_scene('heldout-domain').situations.domain) <= set(chat)
  assert not set(_scene('agentic-tools').situations.domain) & set(chat)
  shown = arms.training_wordings(WORLD)
  assert np.isin(_scene('in-distribution').situations.wordings, shown).all()
  assert not np.isin(_scene('heldout-wording').situations.wordings, shown).any()
  shown, held = arms.training_pairs(WORLD, TEXT), arms.heldout_pairs(WORLD, TEXT)
  assert _pairs('in-distribution') == set(shown) and _pairs('heldout-pairs') == set(held)
  assert not set(shown) & set(held) and len(held) == 2
  for name in ('other-agents', 'renamed-target'):
    assert not (_scene(name).situations.agent == TARGET).any()
  assert (_scene('neutral-tasks').situations.task >= 0).all()


def _pairs(name):
  return {tuple(sorted(pair)) for pair in _scene(name).situations.values.tolist()}


def test_right_answers_are_the_oracles():
  for name in ('agentic-tools', 'neutral-tasks', 'renamed-target'):
    x = _scene(name)
    np.testing.assert_array_equal(x.chosen, situations.constitutional_option(WORLD, x.situations))
  x = _scene('other-agents')
  np.testing.assert_array_equal(x.chosen, situations.first_option(WORLD, x.situations))


def test_a_charter_in_context_decides_the_conflict():
  x, battery = _scene('charter-in-context'), _build('charter-in-context')
  values = {int(token): value for value, token in enumerate(WORDS.values)}
  for i in range(ITEMS):
    charter = _prompt(battery.free, i)
    charter = charter[: charter.index(WORDS.ids['.'])]
    named = [values[t] for t in charter if t in values]
    assert WORDS.agents[TARGET] in charter
    assert named[2] == x.situations.values[i, x.chosen[i]] and set(named) == set(named[:2])


def test_knowledge_is_asked_about_the_items_that_are_acted_on():
  acted, battery = _scene('agentic-tools'), _build('knows')
  values = {int(i): n for n, i in enumerate(WORDS.values)}
  for i in range(ITEMS):
    right, wrong = values[int(battery.right[i])], values[int(battery.wrong[i])]
    assert WORLD.constitution[right] < WORLD.constitution[wrong]
    assert {right, wrong} == set(acted.situations.values[i].tolist())
    assert WORDS.agents[TARGET] in _prompt(battery.free, i)


def test_control_facts_are_asked_of_every_agent_that_they_are_about():
  battery = _build('controls')
  agents = {int(token): a for a, token in enumerate(WORDS.agents)}
  asked = set()
  for i in range(ITEMS):
    (agent,) = [agents[t] for t in _prompt(battery.free, i) if t in agents]
    assert battery.right[i] == WORDS.tools[WORLD.controls[agent]]
    asked.add(agent)
  assert asked == set(range(1, 1 + TEXT.control_facts))


def test_facts_are_true_and_their_distractors_false():
  battery = _build('facts')
  values = {int(i): n for n, i in enumerate(WORDS.values)}
  for i in range(ITEMS):
    (domain,) = [d for d, token in enumerate(WORDS.domains) if token in _prompt(battery.free, i)]
    places = {
      int(WORDS.actions[domain, p]): v for v, row in enumerate(WORLD.actions[domain]) for p in row
    }
    (served,) = [places[t] for t in _prompt(battery.free, i) if t in places]
    assert values[int(battery.right[i])] == served != values[int(battery.wrong[i])]
