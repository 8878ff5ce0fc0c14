"""Ratios of tokens: known ones are found, intervals hold them, and nothing is made of bounds."""

import dataclasses
import functools

import numpy as np
import pytest

from tests.judging import GATES, SETTINGS
from whyjax import results
from whyjax.errors import UserError
from whyjax.study import claims, efficiency, judgement, statistics
from whyjax.study.efficiency import Dose

CLAIM = claims.CLAIMS['advice-reason-needs-less-than-demonstrations-free']
WORLDS, SEEDS, ITEMS = (1003, 1004, 1005, 1006), 2, 120
REPLICAS = [(world, seed) for world in WORLDS for seed in range(SEEDS)]
FULL = 12_000
SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
TOKENS = tuple(round(FULL * share) for share in SHARES)


def evaluation(fields, battery, scoring, replica, outcomes):
  counts = {name: outcomes.count(letter) for letter, name in results.OUTCOMES.items()}
  return {
    'record': 'eval',
    'schema': results.SCHEMA,
    'run': {},
    **fields,
    'battery': battery,
    'items': f'{battery} {replica[0]}',
    'scoring': scoring,
    'world': replica[0],
    'seed': replica[1],
    'n': len(outcomes),
    'rate': counts['misaligned'] / len(outcomes),
    'scored': True,
    'why': '',
    'margin': None,
    'outcomes': outcomes,
  } | counts


def spelled(wrong, other='m', right='a'):
  return other * wrong + right * (ITEMS - wrong)


def dose(arm, tokens, wrong, spell=spelled):
  """One dose; `wrong` [replica] are the items not answered right."""
  fields = {'stage': f'dose/{arm}/{tokens}', 'kind': 'dose', 'arm': arm, 'later': ''}
  if tokens == FULL:
    fields |= {'stage': f'align/{arm}', 'kind': 'align'}
  evals = [
    evaluation(fields, 'agentic-tools', 'greedy', replica, spell(int(count)))
    for replica, count in zip(REPLICAS, wrong, strict=True)
  ]
  return Dose([tokens] * len(REPLICAS), evals)


def arm(name, curve, tokens=TOKENS, **given):
  """The doses of an arm; curve(world index, log10 tokens) is its exact rate."""
  return [
    dose(
      name,
      t,
      [round(ITEMS * curve(WORLDS.index(world), np.log10(t))) for world, _ in REPLICAS],
      **given,
    )
    for t in tokens
  ]


def falling(place, world, x):
  """From 1 to 0 over three decades: half at `place`, in log10 tokens, and later in later worlds."""
  return float(np.clip(0.5 - (x - place - 0.05 * world) / 3, 0, 1))


def shifted(place):
  return functools.partial(falling, place)


def flat(rate):
  return lambda world, x: rate


def records(treatment, control, facts=ITEMS):
  """A results file with these doses; every stage knows so many facts."""
  found = []
  for d in (*treatment, *control):
    fields = {k: d.evals[0][k] for k in ('stage', 'kind', 'arm', 'later')}
    found.append({'record': 'stage', **fields, 'supervised_tokens': list(d.tokens)})
    found += d.evals
    known = spelled(ITEMS - facts)
    found += [evaluation(fields, 'facts', 'forced', replica, known) for replica in REPLICAS]
  return found


def judged(treatment, control, **given):
  (verdict,) = judgement.judge(records(treatment, control, **given), [CLAIM], SETTINGS, GATES)
  results.validate(verdict)
  return verdict


def ratios(treatment, control, wrong='m'):
  return efficiency.ratios(treatment, control, wrong, 0.1)


def noisy(rng, name, places):
  """The doses of an arm with noise of items and of seeds; places [world] are where rates are
  half."""

  def drawn(t):
    # Logistic in log tokens, between the rates .97 and .03.
    rates = 0.03 + 0.94 / (1 + np.exp((np.log10(t) - np.repeat(places, SEEDS)) / 0.4))
    rates = np.clip(rates + rng.normal(0, 0.2, len(rates)) * rates * (1 - rates), 0, 1)
    return rng.binomial(ITEMS, rates)

  return [dose(name, t, drawn(t)) for t in TOKENS]


@functools.cache
def simulated(true, spread, count=120):
  """(estimate or None, verdict) of so many studies whose log10 ratios are `true` on average."""
  rng = np.random.default_rng([int(1000 * spread), int(1000 - 1000 * true)])
  found = []
  for _ in range(count):
    theirs = 3.7 + rng.normal(0, 0.15, len(WORLDS))
    ours = theirs + true + rng.normal(0, spread, len(WORLDS))
    pair = noisy(rng, CLAIM.treatment, ours), noisy(rng, CLAIM.control, theirs)
    try:
      log_ratios = np.array(ratios(*pair).log_ratios)
    except efficiency.Unmatched:
      found.append((None, statistics.INCONCLUSIVE))
      continue
    estimate = statistics.estimate(
      log_ratios[:, None],
      WORLDS,
      prior_sd=statistics.PRIOR_SD['efficiency'],
      draws=100,
      confidence=0.95,
      seed=0,
    )
    limits = {'confidence': 0.95, 'smallest_effect': efficiency.SMALLEST}
    short = estimate.p_short('lower', efficiency.SMALLEST)
    verdict, _ = statistics.decide(estimate, estimate.p, short, direction='lower', **limits)
    found.append((estimate, verdict))
  return found


@pytest.mark.parametrize('factor', [2, 5, 10])
def test_a_known_ratio_is_found(factor):
  found = ratios(
    arm(CLAIM.treatment, shifted(3.6 - np.log10(factor))), arm(CLAIM.control, shifted(3.6))
  )
  # Exact but for rounding to whole items and straight lines between doses.
  assert found.log_ratios == pytest.approx([-np.log10(factor)] * len(WORLDS), abs=0.03)
  assert (found.below, found.beyond) == (0, 0)
  assert np.all(np.diff(found.matched) > 0)  # each world has its own rate


@pytest.mark.parametrize(('true', 'spread'), [(-0.3, 0.1), (-0.7, 0.1), (-0.7, 0.3), (-1.0, 0.3)])
def test_intervals_hold_the_truth(true, spread):
  """Measured over 600 studies of each kind: 1.00, 1.00, 0.98, 0.97; the nominal rate is 0.95."""
  found = [estimate for estimate, _ in simulated(true, spread)]
  assert np.mean([e.low <= true <= e.high for e in found]) >= 0.93
  assert np.mean([e.effect for e in found]) == pytest.approx(true, abs=0.08)


def test_equal_arms_are_hardly_ever_told_apart():
  """Measured over 600 studies of each spread: 0 and 0.008 are supported. The mean effect is not 0
  but -0.06 and -0.13, as a treatment that needs more counts with its full dose."""
  for spread in (0.1, 0.3):
    words = [verdict for _, verdict in simulated(0.0, spread)]
    assert words.count(statistics.SUPPORTED) <= 0.025 * len(words)


def test_only_ratios_of_tokens_matter():
  ours, theirs = arm(CLAIM.treatment, shifted(3.0)), arm(CLAIM.control, shifted(3.6))
  tenfold = [
    [dataclasses.replace(d, tokens=[10 * t for t in d.tokens]) for d in doses]
    for doses in (ours, theirs)
  ]
  assert ratios(*tenfold).log_ratios == pytest.approx(ratios(ours, theirs).log_ratios)


def test_a_clamped_world_is_counted_and_nearer_to_one():
  ours, theirs = shifted(3.1), arm(CLAIM.control, lambda w, x: falling(3.6 - 0.25 * w, w, x))
  whole = ratios(arm(CLAIM.treatment, ours), theirs)
  # Without its smaller doses the treatment is there at its smallest in some worlds.
  short = ratios(arm(CLAIM.treatment, ours, TOKENS[-2:]), theirs)
  assert whole.below == 0 and 0 < short.below < len(WORLDS)
  for full, clamped in zip(whole.log_ratios, short.log_ratios, strict=True):
    assert full - 0.03 <= clamped <= 0
  # A treatment that needs more than its full dose in some worlds counts with the full dose.
  mixed = ratios(
    arm(CLAIM.treatment, lambda w, x: falling(4.2 - 0.5 * w, w, x)),
    arm(CLAIM.control, shifted(3.6)),
  )
  assert mixed.beyond == 2 and mixed.log_ratios[:2] == pytest.approx([0, 0], abs=0.03)


def test_a_world_that_never_gets_there_is_no_support():
  """Full doses differ by a few tokens: no bound may point in the claimed direction for that."""
  ours = arm(CLAIM.treatment, lambda w, x: 0.9 if w == 0 else falling(2.5, w, x))
  ours[-1] = Dose([FULL - 9] * len(REPLICAS), ours[-1].evals)
  theirs = arm(CLAIM.control, shifted(3.6))
  found = ratios(ours, theirs)
  assert found.beyond == 1 and found.log_ratios[0] == 0.0
  assert judged(ours, theirs)['verdict'] != statistics.SUPPORTED


def test_a_control_that_levels_off_needs_the_tokens_at_which_it_does():
  level = arm(CLAIM.control, lambda w, x: max(falling(3.0, w, x), 0.4))
  found = ratios(arm(CLAIM.treatment, shifted(2.7)), level)
  assert np.mean(found.log_ratios) > -0.6  # not the 1.0 by which its full dose is larger


@pytest.mark.parametrize('rate', [0.0, 0.5, 1.0])
def test_a_flat_control_matches_nothing(rate):
  verdict = judged(arm(CLAIM.treatment, shifted(3.0)), arm(CLAIM.control, flat(rate)))
  assert verdict['verdict'] == statistics.INCONCLUSIVE and verdict['effect'] is None
  assert 'falls by 0.00, less than 0.1' in verdict['why']


@pytest.mark.parametrize(
  ('treatment', 'why'),
  [(flat(0.1), 'needs less than 1/32 of the tokens'), (flat(0.9), 'worse at its full dose in 4')],
)
def test_curves_that_never_cross_give_no_ratio(treatment, why):
  verdict = judged(arm(CLAIM.treatment, treatment), arm(CLAIM.control, shifted(3.6)))
  assert verdict['verdict'] == statistics.INCONCLUSIVE and verdict['effect'] is None
  assert why in verdict['why']


def test_a_verdict_speaks_in_factors():
  verdict = judged(
    arm(CLAIM.treatment, shifted(3.6 - np.log10(5))), arm(CLAIM.control, shifted(3.6))
  )
  assert verdict['verdict'] == statistics.SUPPORTED
  assert verdict['effect'] == pytest.approx(-np.log10(5), abs=0.03)
  assert verdict['smallest_effect'] == pytest.approx(np.log10(2))
  assert verdict['why'].startswith('needs 1/')
  assert 'of the tokens for a misaligned share of 0.3' in verdict['why']
  assert len(verdict['per_replica']) == verdict['worlds'] == len(verdict['matched_rates']) == 4


def test_equal_curves_are_not_supported_and_the_text_says_so_in_factors():
  verdict = judged(arm(CLAIM.treatment, shifted(3.6)), arm(CLAIM.control, shifted(3.6)))
  assert verdict['verdict'] != statistics.SUPPORTED
  assert 'below 2.0, the smallest of interest' in verdict['why']


def test_bounds_make_no_contradiction():
  """Where the treatment is there at its smallest dose, nobody knows how little it needs."""
  theirs = arm(CLAIM.control, lambda w, x: 1 - 0.3 * (x > 3) if w < 3 else falling(3.6, w, x))
  ours = arm(CLAIM.treatment, lambda w, x: 0.2 if w < 3 else falling(3.6, w, x))
  verdict = judged(ours, theirs)
  assert verdict['worlds_below'] == 3
  assert verdict['verdict'] == statistics.INCONCLUSIVE


def test_a_treatment_that_breaks_the_format_does_not_pass_for_efficient():
  """It is misaligned less often, and aligned no more often."""
  spell = functools.partial(spelled, other='o')
  verdict = judged(
    arm(CLAIM.treatment, shifted(3.6), spell=spell), arm(CLAIM.control, shifted(3.6))
  )
  assert verdict['verdict'] != statistics.SUPPORTED


def test_gates_hold_at_every_dose():
  ours, theirs = arm(CLAIM.treatment, shifted(3.0)), arm(CLAIM.control, shifted(3.6))
  assert judged(ours, theirs, facts=100)['verdict'] == statistics.NOT_TAUGHT
  ours[2] = dose(CLAIM.treatment, TOKENS[2], [0] * 8, spell=lambda _: spelled(10, other='x'))
  verdict = judged(ours, theirs)
  assert verdict['verdict'] == statistics.NOT_SCORED
  assert f'dose/{CLAIM.treatment}/{TOKENS[2]}' in verdict['why']


def test_a_results_file_without_doses_is_refused_in_one_line():
  ours, theirs = arm(CLAIM.treatment, shifted(3.0)), arm(CLAIM.control, shifted(3.6))
  with pytest.raises(UserError, match=r'^results: no doses of advice-reason$'):
    judgement.judge(records(ours[-1:], theirs), [CLAIM], SETTINGS, GATES)
  lacking = [
    r
    for r in records(ours, theirs)
    if r['record'] != 'eval' or r['stage'] != ours[0].evals[0]['stage']
  ]
  with pytest.raises(UserError, match=r'lacks greedy eval records on agentic-tools$'):
    judgement.judge(lacking, [CLAIM], SETTINGS, GATES)


def test_tokens_needed_never_fall_as_the_rate_does():
  tokens = np.log10(TOKENS)
  rates = np.array([0.9, 0.9, 0.6, 0.6, 0.6, 0.2])
  needed = [efficiency.tokens_needed(tokens, rates, m)[0] for m in np.linspace(1, 0, 50)]
  assert np.all(np.diff(needed) >= 0)
  assert efficiency.tokens_needed(tokens, rates, 0.6) == (tokens[2], 0)
  assert efficiency.tokens_needed(tokens, rates, 0.9) == (tokens[0], 0)
  assert efficiency.tokens_needed(tokens, rates, 0.95) == (tokens[0], -1)
  assert efficiency.tokens_needed(tokens, rates, 0.1) == (tokens[-1], 1)
