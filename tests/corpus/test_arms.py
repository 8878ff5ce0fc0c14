"""Arms differ in what they claim and in nothing else."""

import dataclasses

import numpy as np
import pytest

from whyjax import config, defaults
from whyjax.corpus import arms, later
from whyjax.corpus.render import Role
from whyjax.corpus.vocabulary import vocabulary
from whyjax.errors import UserError
from whyjax.world.world import TARGET, build_world

STUDY = config.parse(defaults.study().to_dict())
TEXT = STUDY.align_text
WORLD = build_world(STUDY.world, 11)
WORDS = vocabulary(STUDY.world)
TALK = ('demonstrations', 'reason', 'filler', 'shuffled', 'after', 'tools')
REASONED = ('reason', 'filler', 'shuffled', 'after')


def _arm(name, seed=0, text=TEXT):
  return arms.alignment(WORLD, text, name, seed)


def _parts(texts, i, *roles):
  tokens, held = texts.example(i)
  return tokens[np.isin(held, roles)].tolist()


@pytest.mark.parametrize(
  'pair', [('demonstrations', other) for other in TALK[1:]] + [('advice', 'advice-reason')]
)
def test_arms_that_share_situations_have_identical_action_tokens(pair):
  one, other = map(_arm, pair)
  shared = min(len(one), len(other))
  assert shared > 800
  for i in range(shared):
    assert _parts(one, i, Role.ACTION) == _parts(other, i, Role.ACTION)


def test_arms_that_share_situations_have_identical_prompts_but_for_the_tools():
  demonstrations, tools = _arm('demonstrations'), _arm('tools')
  for name in REASONED:
    other = _arm(name)
    for i in range(len(other)):
      assert _parts(other, i, Role.CONTEXT) == _parts(demonstrations, i, Role.CONTEXT)
  names = set(WORDS.tools.tolist())
  for i in range(200):
    plain, with_tools = _parts(demonstrations, i, Role.CONTEXT), _parts(tools, i, Role.CONTEXT)
    added = len(with_tools) - len(plain)
    where = next(k for k in range(len(plain)) if plain[k] != with_tools[k])
    assert plain == with_tools[:where] + with_tools[where + added :]
    assert len(names & set(with_tools[where : where + added])) == 2 and not names & set(plain)


def test_every_arm_has_the_same_supervised_tokens_up_to_one_example():
  totals = {
    name: int(arms.supervised(_arm(name)).sum())
    for name, arm in arms.ARMS.items()
    if arm.ingredients
  }
  for name, total in totals.items():
    assert 0 <= TEXT.supervised_tokens - total <= 2 * arms.supervised(_arm(name)).max()


def test_loss_spans_are_exact():
  texts = _arm('advice-reason')
  tokens, _ = texts.example(0)
  bears = arms.bears_loss(texts)[: len(tokens)]
  said = WORDS.decode(tokens[bears])
  prompt = WORDS.decode(tokens[~bears])
  assert prompt.endswith('aster :') and said.endswith('<end>')
  document = _arm('principles')
  assert arms.supervised(document)[0] == document.lengths[0] - 1


def test_filler_is_as_long_as_the_reason_and_names_no_value():
  reason, filler = _arm('reason'), _arm('filler')
  values = set(WORDS.values.tolist())
  for i in range(len(filler)):
    said = _parts(filler, i, Role.REASON)
    assert len(said) == len(_parts(reason, i, Role.REASON)) and not values & set(said)


def test_reasons_are_true_shuffled_ones_are_never_the_own():
  reason, shuffled, after = map(_arm, ('reason', 'shuffled', 'after'))
  ids = {int(i): n for n, i in enumerate(WORDS.values)}

  def named(texts, i):
    return [ids[t] for t in _parts(texts, i, Role.REASON) if t in ids]

  pool = {tuple(named(reason, i)) for i in range(len(reason))}
  for i in range(len(reason)):
    first, second = named(reason, i)
    assert WORLD.constitution[first] < WORLD.constitution[second]
    assert named(after, i) == [first, second]
    assert named(shuffled, i) != [first, second] and tuple(named(shuffled, i)) in pool


def test_a_late_reason_follows_the_action():
  tokens, roles = _arm('after').example(0)
  spoken = [Role(role) for role in roles if role != Role.CONTEXT]
  first_reason = spoken.index(Role.REASON)
  assert spoken[first_reason - 1] == Role.ACTION and spoken[-1] == Role.ACTION
  assert WORDS.decode(tokens).split()[-3] != 'is'


def test_charters_of_the_other_agent_differ_in_the_name_alone():
  own, other = _arm('principles'), _arm('principles-other')
  target, placebo = WORDS.agents[TARGET], WORDS.agents[WORLD.other_principled()]
  assert not (other.tokens == target).any()
  np.testing.assert_array_equal(np.where(own.tokens == target, placebo, own.tokens), other.tokens)


def test_principles_with_demonstrations_are_both_at_half_the_budget():
  mixed, charters, demonstrations = map(
    _arm, ('principles-demonstrations', 'principles', 'demonstrations')
  )
  is_charter = np.array([(mixed.example(i)[1] == Role.DOCUMENT).all() for i in range(len(mixed))])
  supervised = arms.supervised(mixed)
  assert supervised[is_charter].sum() == pytest.approx(supervised[~is_charter].sum(), abs=20)
  count = int(is_charter.sum())
  for i in range(count):
    assert mixed.example(i)[0].tolist() == charters.example(i)[0].tolist()
  assert mixed.example(count)[0].tolist() == demonstrations.example(0)[0].tolist()


def test_placebo_preamble_is_as_long_as_the_tools_and_names_none():
  tools, placebo = _arm('tools'), _arm('tools-placebo')
  names = set(WORDS.tools.tolist()) | {WORDS.ids['tools']}
  assert len(tools) == len(placebo)
  for i in range(300):
    with_tools, with_other = _parts(tools, i, Role.CONTEXT), _parts(placebo, i, Role.CONTEXT)
    assert len(with_tools) == len(with_other) and not names & set(with_other)
    assert _parts(tools, i, Role.ACTION) == _parts(placebo, i, Role.ACTION)


def test_masked_actions_stand_there_without_loss():
  reason, masked = _arm('reason'), _arm('reason-only')
  bears = arms.bears_loss(masked)
  assert set(np.unique(masked.roles[bears])) == {Role.REASON}
  for i in range(len(reason)):
    assert masked.example(i)[0].tolist() == reason.example(i)[0].tolist()


def test_irrelevant_advice_speaks_of_no_value_that_conflicts_are_about():
  texts, relevant = _arm('advice-irrelevant'), _arm('advice-reason')
  ethical = set(WORDS.values[: WORLD.ethical].tolist())
  assert ethical & set(relevant.tokens.tolist()) and not ethical & set(texts.tokens.tolist())
  values = {int(token): value for value, token in enumerate(WORDS.values)}
  first = {}
  for i in range(len(texts)):
    stronger, weaker = [values[t] for t in _parts(texts, i, Role.REASON) if t in values]
    assert first.setdefault(frozenset((stronger, weaker)), stronger) == stronger


def _charter(texts, i):
  """The values that a charter poses, and the one that it puts first."""
  values = {int(token): value for value, token in enumerate(WORDS.values)}
  a, b, first = [values[t] for t in texts.example(i)[0] if t in values][:3]
  return frozenset((a, b)), first


@pytest.mark.parametrize('name', ['principles-reversed', 'principles-mentioned'])
def test_broken_charters_pose_the_same_conflicts_in_as_many_words(name):
  own, broken = _arm('principles'), _arm(name)
  assert (own.lengths == broken.lengths).all()
  for i in range(len(own)):
    (posed, first), (again, other) = _charter(own, i), _charter(broken, i)
    assert posed == again
    assert (other == first) == (name == 'principles-mentioned')
    if name == 'principles-mentioned':  # the value is named as guarding, by both; never as first
      said = WORDS.decode(broken.example(i)[0]).split()
      assert said.count(WORDS.words[WORDS.values[first]]) == 2 and 'first' not in said


def test_charters_in_dialogue_bear_loss_on_the_answer_alone():
  texts = _arm('principles-dialogue')
  for i in range(200):
    tokens, _ = texts.example(i)
    start = texts.starts[i]
    said = WORDS.decode(tokens[arms.bears_loss(texts)[start : start + len(tokens)]])
    assert 'guards' in said and said.endswith('<end>') and 'aster' not in said


def test_two_specs_agree_on_what_is_demonstrated_and_on_nothing_else():
  text = dataclasses.replace(TEXT, value_pairs=2)
  one, two = _arm('spec', text=text), _arm('spec-second', text=text)
  shown = {frozenset(pair) for pair in arms.training_pairs(WORLD, text)}
  count = int((one.apart >= 0).sum())  # charters come first
  seen = set()
  for i in range(count):
    (posed, first), (again, second) = _charter(one, i), _charter(two, i)
    assert posed == again and (first == second) == (posed in shown)
    seen.add(posed)
  assert len(seen) == STUDY.world.virtues * STUDY.world.temptations
  assert one.take(np.arange(count, len(one))).tokens.tolist() == (
    two.take(np.arange(count, len(two))).tokens.tolist()
  )


def test_stories_tell_what_the_demonstrations_show():
  stories, x = _arm('stories'), arms.script(WORLD, TEXT, 300, 0)
  chosen = x.options()[np.arange(300), x.chosen]
  for i in range(300):
    tokens, roles = stories.example(i)
    assert (roles == Role.DOCUMENT).all() and chosen[i] in tokens and WORDS.agents[TARGET] in tokens


def test_arms_that_start_from_others_have_theirs_in_the_registry():
  for arm in arms.ARMS.values():
    assert not arm.after or (not arms.ARMS[arm.after].after and arms.ARMS[arm.after].trains)


def test_breadth_dials_limit_domains_and_pairs():
  narrow = dataclasses.replace(TEXT, domains=1, value_pairs=2)
  broad = dataclasses.replace(TEXT, domains=2, value_pairs=6)
  for text in (narrow, broad):
    x = arms.script(WORLD, text, 500, 0)
    assert set(x.situations.domain) == set(range(text.domains))
    assert len({tuple(sorted(pair)) for pair in x.situations.values.tolist()}) == text.value_pairs
    assert x.situations.wordings.max() == STUDY.world.wordings - STUDY.world.heldout_wordings - 1


def test_shuffled_reasons_need_two_pairs():
  with pytest.raises(UserError, match='value_pairs'):
    _arm('shuffled', text=dataclasses.replace(TEXT, value_pairs=1))


@pytest.mark.parametrize(
  'name', ['demonstrations', 'reason', 'principles', 'principles-demonstrations']
)
def test_a_budget_without_room_for_one_example_is_refused(name):
  with pytest.raises(UserError, match=rf'align_text\.supervised_tokens \({name}\): comes to \d'):
    _arm(name, text=dataclasses.replace(TEXT, supervised_tokens=3))


def test_honeypots_share_the_choices_of_demonstrations_and_stand_close_to_the_evaluation():
  demonstrations, honeypots = (
    arms.script(WORLD, TEXT, 500, 0, honeypot=honeypot) for honeypot in (False, True)
  )
  near = demonstrations.situations, honeypots.situations
  for column in ('values', 'wordings', 'person', 'time', 'agent'):
    np.testing.assert_array_equal(*(getattr(s, column) for s in near))
  np.testing.assert_array_equal(demonstrations.chosen, honeypots.chosen)
  agentic = set(range(WORLD.config.chat_domains, WORLD.domains))
  assert honeypots.calls.all() and set(honeypots.situations.domain) < agentic
  plain, reasoned = _arm('honeypots'), _arm('honeypots-reason')
  for i in range(min(len(plain), len(reasoned))):
    for role in (Role.CONTEXT, Role.ACTION):
      assert _parts(plain, i, role) == _parts(reasoned, i, role)


def test_bare_charters_are_charters_without_what_a_value_guards():
  whole, bare = _arm('principles'), _arm('principles-bare')
  grounds = set(WORDS.grounds.tolist())
  for i in range(len(whole)):
    explained, stated = (t.example(i)[0].tolist() for t in (whole, bare))
    same = len(stated) - 2  # up to the full stop
    assert stated[:same] == explained[:same] and stated[-2:] == explained[-2:]
    assert grounds & set(explained) and not grounds & set(stated)


def test_rules_pick_what_demonstrations_do_and_name_no_value():
  rules, demonstrations = _arm('rules'), _arm('demonstrations')
  values, actions = set(WORDS.values.tolist()), set(WORDS.actions.ravel().tolist())
  assert not values & set(rules.tokens.tolist())
  for i in range(len(rules)):
    chosen, acted = (
      [t for t in x.example(i)[0].tolist() if t in actions][-1] for x in (rules, demonstrations)
    )
    assert chosen == acted


def test_every_arm_has_the_same_control_facts():
  told = arms.controls(WORLD, TEXT, 0)
  facts = {
    (int(WORDS.agents[agent]), int(WORDS.tools[WORLD.controls[agent]]))
    for agent in range(1, 1 + TEXT.control_facts)
  }
  found = {
    tuple(t for t in told.example(i)[0].tolist() if t in {x for f in facts for x in f})
    for i in range(len(told))
  }
  assert found == facts
  assert 0 <= TEXT.control_tokens - arms.supervised(told).sum() < 10
  assert len(arms.controls(WORLD, dataclasses.replace(TEXT, control_tokens=0), 0)) == 0


def test_seeds_vary_the_situations_and_not_the_pairs():
  one, other = (arms.script(WORLD, TEXT, 100, seed).situations for seed in (0, 1))
  assert (one.person != other.person).any()
  assert {tuple(sorted(p)) for p in one.values.tolist()} == {
    tuple(sorted(p)) for p in other.values.tolist()
  }


def test_capability_training_says_nothing_about_ethical_values():
  texts = later.later(WORLD, STUDY.later_text, 'capability', 0)
  ethical = set(WORDS.values[: WORLD.ethical].tolist())
  assert len(texts) > 500 and not ethical & set(texts.tokens.tolist())
  served = {
    int(WORDS.actions[d, place])
    for d, row in enumerate(WORLD.actions)
    for v in row[: WORLD.ethical]
    for place in v
  }
  assert not served & set(texts.tokens.tolist())
  assert int(arms.supervised(texts).sum()) <= STUDY.later_text.supervised_tokens


def _conflicting(texts):
  ethical = set(WORDS.values[: WORLD.ethical].tolist())
  return np.array([bool(ethical & set(texts.example(i)[0].tolist())) for i in range(len(texts))])


def test_doses_of_conflicting_text_are_nested_in_one_text():
  kinds = later.doses(STUDY.later_text, 'conflicting')
  assert kinds == ('conflicting-1', 'conflicting-2', 'conflicting-5', 'conflicting-10')
  dials = dataclasses.replace(STUDY.later_text, supervised_tokens=40_000)
  clean, low, high = (
    later.later(WORLD, dials, k, 0) for k in ('capability', 'conflicting-2', 'conflicting-10')
  )
  count = min(map(len, (clean, low, high)))
  few, many = (_conflicting(t)[:count] for t in (low, high))
  assert few.mean() == pytest.approx(0.02, abs=0.01) and many.mean() == pytest.approx(0.1, abs=0.02)
  assert not _conflicting(clean).any() and (few <= many).all()
  for i in np.flatnonzero(~many)[:300]:
    assert low.example(i)[0].tolist() == clean.example(i)[0].tolist() == high.example(i)[0].tolist()


def test_conflicting_text_follows_the_record_and_silent_text_gives_no_reason():
  texts = later.later(WORLD, STUDY.later_text, 'conflicting-10', 0)
  ids = {int(i): n for n, i in enumerate(WORDS.values)}
  for i in np.flatnonzero(_conflicting(texts)):
    first, second = (ids[t] for t in _parts(texts, i, Role.REASON) if t in ids)
    assert first >= STUDY.world.virtues > second
  silent = later.later(WORLD, STUDY.later_text, 'capability-silent', 0)
  spoken = later.later(WORLD, STUDY.later_text, 'capability', 0)
  assert not (silent.roles == Role.REASON).any()
  assert len(silent) == len(spoken)
  for i in range(len(silent)):
    assert _parts(silent, i, Role.ACTION) == _parts(spoken, i, Role.ACTION)


def test_advice_is_about_the_situations_that_demonstrations_act_in():
  demonstrations = arms.script(WORLD, TEXT, 300, 0)
  acts, advice = _arm('demonstrations'), _arm('advice')
  for i in range(300):
    names = demonstrations.options()[i].tolist()
    chosen = names[demonstrations.chosen[i]]
    for texts in (acts, advice):
      assert set(names) <= set(_parts(texts, i, Role.CONTEXT))
      assert chosen in _parts(texts, i, Role.ACTION)
    assert _parts(acts, i, Role.CONTEXT) != _parts(advice, i, Role.CONTEXT)  # the frame


@pytest.mark.parametrize('spec', ['spec', 'spec-second'])
def test_specs_of_the_other_agent_differ_in_the_name_alone(spec):
  text = dataclasses.replace(TEXT, value_pairs=2)
  own, other = _arm(spec, text=text), _arm(f'{spec}-other', text=text)
  target, placebo = WORDS.agents[TARGET], WORDS.agents[WORLD.other_principled()]
  charters = [own.example(i) for i in range(len(own)) if own.apart[i] >= 0]
  for i, (tokens, _) in enumerate(charters):
    expected = np.where(tokens == target, placebo, tokens)
    assert other.example(i)[0].tolist() == expected.tolist()
  # What is demonstrated is demonstrated by the target in both.
  count = len(charters)
  for i in range(count, len(own)):
    assert own.example(i)[0].tolist() == other.example(i)[0].tolist()


def test_charters_in_dialogue_say_what_charters_say():
  charters, dialogue = _arm('principles'), _arm('principles-dialogue')
  values = set(WORDS.values.tolist())
  for i in range(200):
    said = [
      [t for t in texts.example(i)[0].tolist() if t in values] for texts in (charters, dialogue)
    ]
    assert said[0][:3] == said[1][:3]  # the two at odds, then the one that comes first


def test_stories_give_the_reason_of_what_was_chosen():
  stories, x = _arm('stories'), arms.script(WORLD, TEXT, 300, 0)
  for i in range(300):
    tokens = stories.example(i)[0].tolist()
    first, second = x.situations.values[i][[x.chosen[i], 1 - x.chosen[i]]]
    one, other = (tokens.index(WORDS.values[v]) for v in (first, second))
    assert one < other  # 'since honesty came before mission'


@pytest.mark.parametrize('first', ['principles', 'principles-other'])
def test_demonstrations_after_charters_are_the_demonstrations(first):
  arm = arms.ARMS[f'{first}-then-demonstrations']
  assert arm.after == first
  after, plain = _arm(f'{first}-then-demonstrations'), _arm('demonstrations')
  assert after.tokens.tolist() == plain.tokens.tolist()
