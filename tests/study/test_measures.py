"""Measures beyond a difference of rates, on outcomes whose answer is known."""

import dataclasses

import numpy as np
import pytest

from tests.judging import GATES, SETTINGS
from whyjax import config, defaults
from whyjax.errors import UserError
from whyjax.study import claims, judgement, measures, statistics

WORLDS, ITEMS = (1000, 1001, 1002, 1003), 120
OUTLASTS = claims.CLAIMS['reason-outlasts-demonstrations-capability-free']
KNOWS = claims.CLAIMS['principles-knows-before-it-acts-free']
CUT = claims.CLAIMS['advice-reason-leaves-a-fifth-of-generic-free']


def records(arm, moment, battery, wrong, scoring='greedy', record='eval'):
  """One a world; a share `wrong` of the outcomes is 'm', spread a little over the worlds."""
  found = []
  for place, world in enumerate(WORLDS):
    count = round(ITEMS * wrong) + (place % 2 if 0 < wrong < 1 else 0)
    outcomes = 'm' * count + 'a' * (ITEMS - count)
    kind = moment if moment in ('pretrain', 'align') else 'later'
    kind = 'align' if record == 'probe' else kind
    found.append(
      {
        'record': record,
        'stage': f'{kind}/{arm}',
        'kind': kind,
        'arm': arm,
        'later': moment if kind == 'later' else '',
        'battery': battery,
        'items': f'{battery} {world}',
        'scoring': scoring,
        'world': world,
        'seed': 0,
        'n': ITEMS,
        'aligned': ITEMS - count,
        'misaligned': count,
        'other': 0,
        'malformed': 0,
        'rate': count / ITEMS,
        'scored': True,
        'why': '',
        'outcomes': outcomes,
      }
      | ({'update': moment} if record == 'probe' else {})
    )
  return found


def arm(name, moment, misaligned, controls=0.0):
  """Choices, facts and control facts of an arm at a moment."""
  return [
    *records(name, moment, 'agentic-tools', misaligned),
    *records(name, moment, 'facts', 0.0, 'forced'),
    *records(name, moment, 'controls', controls),
  ]


def later_study(reason, demonstrations, *, generic=(1.0, 1.0), controls=(0.0, 0.0)):
  """(after alignment, after later training) of each arm; control facts wrong at both moments."""
  found = arm('', 'pretrain', 1.0, controls=1.0)
  for name, rates in dict(reason=reason, demonstrations=demonstrations, generic=generic).items():
    for moment, rate, wrong in zip(('align', 'capability'), rates, controls, strict=True):
      found += arm(name, moment, rate, wrong)
  return found


def judged(found, claim):
  (verdict,) = judgement.judge(found, [claim], SETTINGS, GATES)
  return verdict


def test_an_effect_that_fades_as_fast_as_control_facts_has_no_excess():
  """Both arms lose half of their lead, the one twice as large as the other."""
  for forgotten in (0.0, 0.5):
    found = later_study((0.2, 0.6), (0.6, 0.8), controls=(0.0, forgotten))
    assert judged(found, OUTLASTS)['effect'] == pytest.approx(0, abs=0.03)
    excess = measures.difference(measures.Evidence.of(found), OUTLASTS, 'm')
    assert excess.shape == (len(WORLDS), ITEMS)


def test_what_is_lost_beyond_forgetting_counts():
  found = later_study((0.1, 0.1), (0.1, 0.9), controls=(0.0, 0.0))
  verdict = judged(found, OUTLASTS)
  assert verdict['effect'] == pytest.approx(-0.8 / 0.9, abs=0.03)
  assert verdict['verdict'] == statistics.SUPPORTED and verdict['measure'] == 'excess'


def test_what_the_base_catches_up_is_lost():
  """Later training makes everyone better, the base too: the lead is gone, the rate is not."""
  found = later_study((0.2, 0.2), (0.2, 0.0), generic=(1.0, 0.2), controls=(0.0, 0.0))
  assert judged(found, OUTLASTS)['effect'] == pytest.approx(0.25, abs=0.03)


def test_an_arm_that_does_not_end_better_is_not_supported_for_losing_less():
  """A small lead that stays beside a large one of which half goes."""
  found = later_study((0.8, 0.8), (0.2, 0.8), controls=(0.0, 0.0))
  verdict = judged(found, OUTLASTS)
  assert verdict['effect'] < -0.5
  assert verdict['verdict'] == statistics.INCONCLUSIVE and 'less to lose' in verdict['why']


def test_a_share_of_no_effect_is_not_told():
  verdict = judged(later_study((0.95, 0.9), (0.2, 0.4)), OUTLASTS)
  assert verdict['verdict'] == statistics.NOT_TAUGHT and 'no effect to lose' in verdict['why']


def test_an_effect_that_is_only_in_one_count_of_wrong_is_no_effect():
  """An arm that no longer answers is misaligned less often and aligned no more often."""
  found = spoilt(later_study((0.9, 0.9), (0.2, 0.4)), 'align/reason', 0.9)
  verdict = judged(found, OUTLASTS)
  assert verdict['verdict'] == statistics.NOT_TAUGHT and 'no effect to lose' in verdict['why']


def test_all_answers_being_one_of_two_options_both_counts_of_wrong_agree():
  found = later_study((0.1, 0.3), (0.4, 0.9), controls=(0.1, 0.3))
  evidence = measures.Evidence.of(found)
  for claim in (OUTLASTS, dataclasses.replace(OUTLASTS, measure='cut')):
    lax, strict = (measures.difference(evidence, claim, wrong) for wrong in measures.WRONG)
    np.testing.assert_allclose(lax, strict)


def spoilt(found, stage, share):
  """The same records, but this share of the answers of a stage chooses neither option."""
  for r in found:
    if r['stage'] == stage and r['battery'] == 'agentic-tools':
      outcomes = 'o' * round(share * ITEMS) + r['outcomes'][round(share * ITEMS) :]
      counts = {'o': 'other', 'm': 'misaligned', 'a': 'aligned'}
      r |= {'outcomes': outcomes} | {name: outcomes.count(x) for x, name in counts.items()}
  return found


def test_answers_that_are_neither_option_prove_nothing():
  """An arm that stops answering is misaligned less often, and aligned no more often."""
  found = later_study((0.1, 0.8), (0.1, 0.9), controls=(0.0, 0.0))
  found += arm('advice-reason', 'align', 0.85)
  spoilt(spoilt(found, 'later/reason', 0.75), 'align/advice-reason', 0.8)
  verdict = judged(found, OUTLASTS)
  assert verdict['effect'] < -0.5
  assert verdict['verdict'] == statistics.INCONCLUSIVE and 'aligned ones' in verdict['why']
  evidence = measures.Evidence.of(found)
  lax, strict = (measures.difference(evidence, CUT, wrong).mean() for wrong in measures.WRONG)
  assert lax < -0.1 and strict > 0.5


def test_forgetting_is_told_by_facts_that_were_learnt():
  found = later_study((0.1, 0.1), (0.1, 0.9), controls=(0.7, 0.8))
  verdict = judged(found, OUTLASTS)
  assert verdict['verdict'] == statistics.NOT_TAUGHT and 'control facts' in verdict['why']
  evidence = measures.Evidence.of(later_study((0.1, 0.1), (0.1, 0.9), controls=(0.2, 0.6)))
  for wrong in measures.WRONG:
    lost = measures.forgotten(evidence, 'reason', 'capability', wrong)
    np.testing.assert_allclose(lost, 0.5, atol=0.02)
  more = measures.Evidence.of(later_study((0.1, 0.1), (0.1, 0.9), controls=(0.4, 0.2)))
  assert (measures.forgotten(more, 'reason', 'capability', 'm') == 0).all()


def test_no_claim_of_outlasting_hangs_on_control_facts_answered_with_a_word_that_is_no_tool():
  """Half of the effect goes in both arms; in the treatment alone 40% of the control facts are
  answered with something else. Is that forgetting? Whichever it is, it does not excuse the loss."""
  found = later_study((0.1, 0.55), (0.1, 0.55))
  for r in found:
    if (r['stage'], r['battery']) == ('later/reason', 'controls'):
      count = round(0.4 * ITEMS)
      r |= {'outcomes': 'x' * count + r['outcomes'][count:], 'malformed': count}
      r['aligned'] -= count
  evidence = measures.Evidence.of(found)
  left_out, counted = (
    measures.forgotten(evidence, 'reason', 'capability', wrong) for wrong in measures.WRONG
  )
  np.testing.assert_allclose(left_out, 0)
  np.testing.assert_allclose(counted, 0.4)
  lax, strict = (measures.difference(evidence, OUTLASTS, w).mean() for w in measures.WRONG)
  assert lax == pytest.approx(0, abs=0.02) and strict == pytest.approx(-0.4, abs=0.02)
  assert judged(found, OUTLASTS)['verdict'] == statistics.INCONCLUSIVE


def test_chance_is_not_taken_from_the_few_control_facts_that_a_pretrained_model_answers():
  """In one world it names a tool in 6 of 120 answers, by luck the right one in 4. That says nothing
  of that world; in all four a tool that is named is right in 4 answers of 96."""
  found = later_study((0.1, 0.1), (0.1, 0.9))
  for r in found:
    if (r['kind'], r['battery']) == ('pretrain', 'controls'):
      right, wrong = (4, 2) if r['world'] == WORLDS[0] else (0, 30)
      r |= {'outcomes': 'a' * right + 'm' * wrong + 'x' * (ITEMS - right - wrong)}
      r |= {'aligned': right, 'misaligned': wrong, 'malformed': ITEMS - right - wrong}
  assert judged(found, OUTLASTS)['verdict'] == statistics.SUPPORTED


def test_who_names_tools_and_has_forgotten_all_has_kept_nothing():
  """Eight tools: one answer in eight is right by chance, before alignment and after forgetting."""
  found = later_study((0.1, 0.1), (0.1, 0.9), controls=(0.0, 0.875))
  for r in found:
    if (r['kind'], r['battery']) == ('pretrain', 'controls'):
      r |= {'outcomes': 'a' * 3 + 'm' * 21 + 'x' * 96}
      r |= {'aligned': 3, 'misaligned': 21, 'malformed': 96}
  lost = measures.forgotten(measures.Evidence.of(found), 'reason', 'capability', 'm')
  np.testing.assert_allclose(lost, 1, atol=0.02)


def test_a_pretrained_model_need_not_answer_about_control_facts():
  found = later_study((0.1, 0.1), (0.1, 0.9))
  for r in found:
    if (r['kind'], r['battery']) == ('pretrain', 'controls'):
      r |= {'outcomes': 'x' * ITEMS, 'misaligned': 0, 'malformed': ITEMS, 'rate': None}
      r |= {'scored': False, 'why': '100% malformed'}
  assert judged(found, OUTLASTS)['verdict'] == statistics.SUPPORTED


def lead_study(knows, acts):
  """Wrong answers and misaligned acts before, after 2, 4 and 8 updates, and at the end."""
  found = [*records('', 'pretrain', 'facts', 0.0, 'forced')]
  found += records('principles', 'align', 'facts', 0.0, 'forced')
  for moment, a, b in zip(('pretrain', 2, 4, 8, 'align'), knows, acts, strict=True):
    name = '' if moment == 'pretrain' else 'principles'
    record = 'probe' if isinstance(moment, int) else 'eval'
    found += records(name, moment, 'knows', a, record=record)
    found += records(name, moment, 'agentic-tools', b, record=record)
  return found


def test_knowing_before_acting_is_an_order_in_time():
  late = judged(lead_study((0.8, 0.1, 0.0, 0.0, 0.0), (1.0, 1.0, 0.9, 0.6, 0.5)), KNOWS)
  knows, acts = (0.875, 1.0, 1.0), (0.0, 0.2, 0.8)
  ahead = np.subtract(acts, knows).mean()
  assert late['effect'] == pytest.approx(ahead, abs=0.03)
  assert late['verdict'] == statistics.SUPPORTED


@pytest.mark.parametrize('acts', [(1.0, 0.55, 0.5, 0.5, 0.5), (1.0, 0.1, 0.0, 0.0, 0.0)])
def test_knowing_more_than_one_acts_on_is_no_order_in_time(acts):
  """Both rise at once; how far acts rise in the end does not matter."""
  verdict = judged(lead_study((0.8, 0.08, 0.0, 0.0, 0.0), acts), KNOWS)
  assert verdict['effect'] == pytest.approx(0, abs=0.03)
  assert verdict['verdict'] != statistics.SUPPORTED


def test_without_a_rise_there_is_no_order():
  verdict = judged(lead_study((0.8, 0.1, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0, 0.95)), KNOWS)
  assert verdict['verdict'] == statistics.NOT_TAUGHT and 'no course' in verdict['why']


def test_cutting_is_measured_against_a_fifth():
  base = [*arm('', 'pretrain', 1.0), *arm('generic', 'align', 1.0)]
  verdict = judged([*base, *arm('advice-reason', 'align', 0.02)], CUT)
  assert verdict['effect'] == pytest.approx(-0.18, abs=0.01) and verdict['smallest_effect'] == 0
  assert judged([*base, *arm('advice-reason', 'align', 0.3)], CUT)['effect'] > 0


def test_what_a_placebo_does_too_is_not_attributed_to_the_text():
  found = [*arm('', 'pretrain', 1.0)]
  rates = {'spec': 0.1, 'spec-second': 0.9, 'spec-other': 0.5, 'spec-second-other': 0.5}
  for name, rate in rates.items():
    found += arm(name, 'align', rate) + records(name, 'align', 'heldout-pairs', rate)
  steers = claims.CLAIMS['spec-steers-beyond-its-placebo-on-heldout-pairs-free']
  assert judged(found, steers)['effect'] == pytest.approx(-0.8, abs=0.02)
  assert judged(found, steers)['verdict'] == statistics.SUPPORTED
  alike = [r for r in found if 'other' not in r['arm']]
  for name, rate in (('spec-other', 0.1), ('spec-second-other', 0.9)):
    alike += arm(name, 'align', rate) + records(name, 'align', 'heldout-pairs', rate)
  assert judged(alike, steers)['effect'] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
  'claim, change, complaint',
  [
    (OUTLASTS, {'later_arms': ('reason', 'demonstrations')}, "'generic' in config.later_arms"),
    (OUTLASTS, {'later': ('neutral',)}, "'capability' in config.later"),
    (KNOWS, {}, r'config\.align\.probes'),
  ],
)
def test_a_claim_says_what_its_measure_needs(claim, change, complaint):
  arms = ('generic', 'reason', 'demonstrations', 'principles')
  study = dataclasses.replace(
    config.parse(defaults.study().to_dict()),
    claims=(claim.name,),
    **dict(arms=arms, later_arms=arms, later=('capability',)) | change,
  )
  with pytest.raises(UserError, match=complaint):
    claims.check(study)


def test_doses_of_conflicting_training_are_named_in_percent():
  name = 'reason-outlasts-demonstrations-conflicting-2-free'
  arms = ('generic', 'reason', 'demonstrations')
  study = dataclasses.replace(
    config.parse(defaults.study().to_dict()),
    claims=(name,),
    arms=arms,
    later_arms=arms,
    later=('conflicting',),
  )
  assert [c.after for c in claims.check(study)] == ['conflicting-2']
  fewer = dataclasses.replace(study.later_text, conflicting=(0.5,))
  with pytest.raises(UserError, match=r"needs 'conflicting-2' in config\.later"):
    claims.check(dataclasses.replace(study, later_text=fewer))
