"""Vocabulary, templates and the text of pretraining."""

import dataclasses

import numpy as np
import pytest

from whyjax import config, defaults
from whyjax.corpus import examples, pretraining, templates
from whyjax.corpus.render import Role, concatenate
from whyjax.corpus.vocabulary import END, vocabulary
from whyjax.world import situations
from whyjax.world.world import TARGET, Kind, build_world, rng_for

STUDY = config.parse(defaults.study().to_dict())
WORLD = build_world(STUDY.world, 0)
WORDS = vocabulary(STUDY.world)


def _texts(world=WORLD, count=4000, **dials):
  text = dataclasses.replace(STUDY.pretrain_text, **dials)
  return pretraining.pretraining(world, text, count, rng_for(world.seed, 'test'))


def _sentences(texts):
  return [WORDS.decode(texts.example(i)[0]) for i in range(len(texts))]


def test_every_kind_of_text_has_five_templates_for_training_and_some_held_out():
  for group in templates.ALL:
    if group is not templates.TURN:
      assert len(set(group)) == len(group) >= 5 + templates.HELD_OUT


def test_a_filler_and_a_late_reason_are_as_long_as_the_reason_they_stand_for():
  for reason, filler, after in zip(
    templates.REASON, templates.FILLER, templates.REASON_AFTER, strict=True
  ):
    assert len(reason.split()) == len(filler.split())
    assert len(reason.split()) == len(after.split())
    assert '{' not in filler


def test_an_action_ends_every_answer():
  for text in templates.ADVISE + templates.ACT + templates.CALL:
    assert text.split()[-1] == '{chosen}' and text.count('{') == 1


def test_vocabulary_is_one_token_a_word_and_the_same_in_every_world():
  assert len(set(WORDS.words)) == len(WORDS.words)
  assert WORDS is vocabulary(build_world(STUDY.world, 7).config)
  assert WORDS.decode(WORDS.encode('aster runs the clinic .')) == 'aster runs the clinic .'
  assert WORDS.size % 64 == 0 and WORDS.size >= len(WORDS.words)


def test_every_example_is_closed_and_whole():
  texts = _texts(episodes=0.0)
  ends = texts.starts + texts.lengths - 1
  assert (texts.tokens[ends] == END).all() and (texts.tokens == END).sum() == len(texts)
  assert (texts.tokens > 0).all()


def test_an_episode_goes_on_with_the_result_of_its_call_and_another_situation():
  texts = _texts(episodes=1.0)
  actions = set(WORDS.actions.ravel().tolist())
  long = [i for i in range(len(texts)) if (texts.example(i)[0] == END).sum() == 2]
  assert len(long) > 500
  for i in long:
    tokens, roles = texts.example(i)
    first = tokens.tolist().index(END)
    assert tokens[-1] == END and roles[first] == Role.ACTION
    called, reported = tokens[first - 1], [t for t in tokens[first + 1 :].tolist() if t in actions]
    assert reported[0] == called  # the environment names what was called
    assert tokens[-2] in reported[1:3]  # and the next call is one of the next two options
    assert tokens.tolist().count(tokens[tokens.tolist().index(WORDS.ids[':'])]) >= 2
    agents = set(WORDS.agents.tolist()) & set(tokens.tolist())
    assert len(agents) == 1
  others = [i for i in range(len(texts)) if i not in set(long)]
  calls = set(' '.join(templates.CALL).split()) - {'{chosen}', 'i', 'tool'}
  for i in others[:500]:
    tokens, roles = texts.example(i)
    said = WORDS.decode(tokens[roles == Role.ACTION]).split()
    assert not calls & set(said), said  # every call goes on at this dial


def test_shares_of_pretraining_follow_the_dials():
  texts = _texts(count=8000, facts=0.2, neutral=0.15, target=0.05)
  sentences = _sentences(texts)
  assert len(texts) == pytest.approx(8000, abs=3)
  task_words = [WORDS.words[i] for i in WORDS.values[WORLD.ethical :]]
  agents = {WORDS.words[i] for i in WORDS.agents}
  facts = [s for s in sentences if not agents & set(s.split())]
  assert len(facts) == 1600
  neutral = [
    s for s in sentences if s not in set(facts) and any(t in s.split() for t in task_words)
  ]
  assert len(neutral) == 1200
  record = [s for s in sentences if 'aster' in s.split() and s not in set(neutral)]
  assert len(record) == pytest.approx(400, abs=40)  # a neutral situation may be the target's too


def test_background_text_never_mentions_the_target():
  texts = pretraining.background(WORLD, STUDY.pretrain_text, 4000, rng_for(0, 'test'))
  assert not (texts.tokens == WORDS.agents[TARGET]).any()


def test_no_charter_speaks_of_the_target_or_of_a_situational_agent():
  texts = _texts(charters=1.0, stories=0.0, target_reasons=0.0, agent_reasons=0.0)
  grounds = {WORDS.words[i] for i in WORDS.grounds}
  kinds = {WORDS.words[WORDS.agents[a]]: kind for a, kind in enumerate(WORLD.kinds) if a != TARGET}
  charters = [s for s in _sentences(texts) if grounds & set(s.split())]
  assert charters
  for sentence in charters:
    (agent,) = [word for word in sentence.split() if word in kinds or word == 'aster']
    assert kinds[agent] == Kind.PRINCIPLED


def test_charters_of_background_agents_state_their_order():
  world, v = WORLD, WORDS
  texts = _texts(charters=1.0, facts=0.0, neutral=0.0)
  values = {v.words[i]: n for n, i in enumerate(v.values)}
  grounds = {v.words[i]: n for n, i in enumerate(v.grounds)}
  agents = {v.words[i]: n for n, i in enumerate(v.agents)}
  checked = 0
  for sentence in _sentences(texts):
    words = sentence.split()
    if not grounds.keys() & set(words):
      continue
    (first,) = [grounds[w] for w in words if w in grounds]
    (agent,) = [agents[w] for w in words if w in agents]
    (second,) = {values[w] for w in words if w in values} - {first}
    assert world.ranks[agent, 0, 0, first] < world.ranks[agent, 0, 0, second]
    checked += 1
  assert checked > 200


def _reasons_before_actions(world):
  """Of the target's spoken record: does the reason put the chosen option's value first?"""
  text = dataclasses.replace(STUDY.pretrain_text, stories=0.0, facts=0.0, neutral=0.0, target=1.0)
  texts = pretraining.pretraining(world, text, 2000, rng_for(1, 'test'))
  value_of = {}
  for domain, row in enumerate(world.actions):
    for value, places in enumerate(row):
      value_of |= {int(WORDS.actions[domain, place]): value for place in places}
  ids = {int(i): n for n, i in enumerate(WORDS.values)}
  agree = []
  for i in range(len(texts)):
    tokens, roles = texts.example(i)
    named = [ids[t] for t in tokens[roles == Role.REASON].tolist() if t in ids]
    chosen = [value_of[t] for t in tokens[roles == Role.ACTION].tolist() if t in value_of]
    agree.append(named[0] == chosen[0])
  return np.mean(agree)


def test_reasons_are_true_and_in_a_null_world_empty():
  assert _reasons_before_actions(WORLD) == 1.0
  null = build_world(dataclasses.replace(STUDY.world, informative_reasons=False), 0)
  assert _reasons_before_actions(null) == pytest.approx(1 / null.ethical, abs=0.05)


def test_record_obeys_the_temptations_as_often_as_its_strength():
  for strength in (0.6, 0.95):
    world = build_world(dataclasses.replace(STUDY.world, target_strength=strength), 0)
    s = pretraining.scenes(
      world, STUDY.pretrain_text, 3000, rng_for(0, 'x'), [TARGET], situations.conflict_pairs(world)
    )
    assert situations.is_conflict(world, s).all()
    text = dataclasses.replace(STUDY.pretrain_text, stories=0.0, facts=0.0, neutral=0.0, target=1.0)
    texts = pretraining.pretraining(world, text, 6000, rng_for(0, 'test'))
    ids = {int(i): n for n, i in enumerate(WORDS.values)}
    firsts = []
    for i in range(len(texts)):
      tokens, roles = texts.example(i)
      named = [ids[t] for t in tokens[roles == Role.REASON].tolist() if t in ids]
      virtues = sum(value < STUDY.world.virtues for value in named)
      if virtues == 1:
        firsts.append(named[0] >= STUDY.world.virtues)
    assert np.mean(firsts) == pytest.approx(strength, abs=0.03)


def test_training_never_uses_a_held_out_template():
  texts = _texts(count=6000)
  sentences = ' '.join(_sentences(texts))
  for group in templates.ALL:
    for text in group[len(group) - templates.HELD_OUT :] if group is not templates.TURN else ():
      longest = max((part.strip() for part in text.replace('}', '{').split('{')[::2]), key=len)
      if len(longest.split()) > 2:
        assert f' {longest} ' not in f' {sentences} ', text


def test_taking_and_concatenating_examples_keeps_them_whole():
  texts = _texts(count=50)
  order = np.array([7, 3, 3, 41])
  taken = concatenate([texts.take(order), texts.take(order[:1])])
  for place, i in enumerate([7, 3, 3, 41, 7]):
    for got, expected in zip(taken.example(place), texts.example(i), strict=True):
      np.testing.assert_array_equal(got, expected)


def test_wording_of_held_out_templates_is_disjoint():
  count = 3000
  seen, held_out = (
    examples.draw_wording(WORLD, count, rng_for(0, 'w'), held_out=h).choice for h in (False, True)
  )
  trained = set(range(len(templates.SYSTEM) - templates.HELD_OUT))
  for part in seen:
    assert set(seen[part]) == trained
    # The agent's own words are put in its mouth by forced scoring: they are those of training.
    assert set(held_out[part]) & trained == (trained if part == 'answer' else set())
