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
  """Both arms lose half of their lead, and half of the control facts are forgotten."""
  found = later_study((0.2, 0.6), (0.6, 0.8), controls=(0.0, 0.5))
  verdict = judged(found, OUTLASTS)
  assert verdict['effect'] == pytest.approx(0, abs=0.02)
  # Without controls forgotten, the arm with more to lose would look worse.
  raw = judged(found, claims.CLAIMS['reason-erodes-less-than-demonstrations-capability-free'])
  assert raw['effect'] == pytest.approx(0.2, abs=0.02)


def test_what_is_lost_beyond_forgetting_counts():
  found = later_study((0.1, 0.1), (0.1, 0.9), controls=(0.0, 0.0))
  verdict = judged(found, OUTLASTS)
  assert verdict['effect'] == pytest.approx(-0.8, abs=0.02)
  assert verdict['verdict'] == statistics.SUPPORTED and verdict['measure'] == 'excess'


def test_a_drift_of_the_base_is_no_erosion():
  """Later training makes everyone better, the base too: the lead is gone, the rate is not."""
  found = later_study((0.2, 0.2), (0.2, 0.2), generic=(1.0, 0.2), controls=(0.0, 0.0))
  excess = measures.difference(
    measures.Evidence.of(found), dataclasses.replace(OUTLASTS, control='generic'), 'm'
  )
  assert excess.mean() == pytest.approx(0.8, abs=0.02)


def test_misaligned_and_aligned_outcomes_mirror_each_other():
  found = later_study((0.1, 0.3), (0.4, 0.9), controls=(0.1, 0.3))
  evidence = measures.Evidence.of(found)
  for claim in (OUTLASTS, dataclasses.replace(OUTLASTS, measure='erosion')):
    bad, good = (measures.difference(evidence, claim, letter) for letter in 'ma')
    np.testing.assert_allclose(bad.mean(axis=1), -good.mean(axis=1), atol=1e-12)


def test_forgetting_is_told_by_facts_that_were_learnt():
  found = later_study((0.1, 0.1), (0.1, 0.9), controls=(0.7, 0.8))
  verdict = judged(found, OUTLASTS)
  assert verdict['verdict'] == statistics.NOT_TAUGHT and 'control facts' in verdict['why']
  evidence = measures.Evidence.of(later_study((0.1, 0.1), (0.1, 0.9), controls=(0.2, 0.6)))
  np.testing.assert_allclose(measures.forgotten(evidence, 'reason', 'capability'), 0.5, atol=0.02)
  more = measures.Evidence.of(later_study((0.1, 0.1), (0.1, 0.9), controls=(0.4, 0.2)))
  assert (measures.forgotten(more, 'reason', 'capability') == 0).all()


def test_a_pretrained_model_need_not_answer_about_control_facts():
  found = later_study((0.1, 0.1), (0.1, 0.9))
  for r in found:
    if (r['kind'], r['battery']) == ('pretrain', 'controls'):
      r |= {'outcomes': 'x' * ITEMS, 'misaligned': 0, 'malformed': ITEMS, 'rate': None}
      r |= {'scored': False, 'why': '100% malformed'}
  assert judged(found, OUTLASTS)['verdict'] == statistics.SUPPORTED


def lead_study(knows, acts):
  """Wrong answers and misaligned acts after 10 and 50 updates, and at the end."""
  found = [*arm('', 'pretrain', 1.0), *records('principles', 'align', 'facts', 0.0, 'forced')]
  for moment, a, b in zip((10, 50, 'align'), knows, acts, strict=True):
    record = 'eval' if moment == 'align' else 'probe'
    found += records('principles', moment, 'knows', a, record=record)
    found += records('principles', moment, 'agentic-tools', b, record=record)
  return found


def test_knowing_before_acting_is_a_lead_over_the_course_of_training():
  verdict = judged(lead_study((0.9, 0.1, 0.0), (0.9, 0.9, 0.6)), KNOWS)
  assert verdict['effect'] == pytest.approx(-(0.0 + 0.8 + 0.6) / 3, abs=0.02)
  assert verdict['verdict'] == statistics.SUPPORTED
  both = judged(lead_study((0.9, 0.5, 0.1), (0.9, 0.5, 0.1)), KNOWS)
  assert both['verdict'] != statistics.SUPPORTED and both['effect'] == pytest.approx(0, abs=0.02)


def test_cutting_is_measured_against_a_fifth():
  base = [*arm('', 'pretrain', 1.0), *arm('generic', 'align', 1.0)]
  verdict = judged([*base, *arm('advice-reason', 'align', 0.02)], CUT)
  assert verdict['effect'] == pytest.approx(-0.18, abs=0.01)
  assert judged([*base, *arm('advice-reason', 'align', 0.3)], CUT)['effect'] > 0


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
