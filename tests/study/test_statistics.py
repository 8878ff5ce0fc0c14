"""Statistics: known answers, honest error rates on simulated studies, and every verdict."""

import numpy as np
import pytest
from scipy import special

from whyjax.study import statistics
from whyjax.study.statistics import CONTRADICTED, INCONCLUSIVE, SUPPORTED

LIMITS = {'confidence': 0.95, 'smallest_effect': 0.1}


def constant(rates, items=100):
  """[replica, item] differences whose mean in each replica is exactly its rate."""
  ones = np.round(np.abs(rates) * items)[:, None]
  return np.sign(rates)[:, None] * (np.arange(items) < ones)


def estimated(rates, worlds, prior_sd=0.15):
  return statistics.estimate(
    constant(np.asarray(rates)), worlds, prior_sd=prior_sd, draws=400, confidence=0.95, seed=0
  )


def decided(rates, worlds, direction='lower', claims=8):
  found = estimated(rates, worlds)
  short = found.p_short(direction, LIMITS['smallest_effect'])
  after_holm = (min(1.0, claims * p) for p in (found.p, short))
  return statistics.decide(found, *after_holm, direction=direction, **LIMITS)


def test_holm_equals_a_worked_example():
  # Sorted: .01*4, .02*3, .03*2 (raised to .06 by the one before), .5*1.
  assert statistics.holm([0.03, 0.5, 0.01, 0.02]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
  assert statistics.holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
  assert statistics.holm([0.7, 0.8, 0.9]) == [1, 1, 1]
  assert statistics.holm([]) == []


def test_indicator_spells_outcomes():
  assert statistics.indicator(['amo', 'mmx'], 'm').tolist() == [[0, 1, 0], [1, 1, 0]]


def test_world_level_error_counts_when_seeds_of_a_world_agree():
  worlds = [0, 0, 0, 1, 1, 1]
  found = estimated([-0.5, -0.5, -0.5, -0.1, -0.1, -0.1], worlds)
  assert found.effect == pytest.approx(-0.3)
  assert found.se == pytest.approx(
    0.4 / 2
  )  # two world means, 0.4 apart, whatever the number of seeds
  alternating = estimated([-0.5, -0.1, -0.3, -0.3, -0.1, -0.5], worlds)
  assert alternating.se == pytest.approx(np.std([-0.5, -0.1, -0.3] * 2, ddof=1) / np.sqrt(6))


def test_prior_widens_and_never_narrows():
  tight = estimated([-0.3, -0.3, -0.3], [0, 1, 2])
  assert tight.se == 0 and tight.cautious_se == pytest.approx(np.sqrt(3 / 5 * 0.15**2 / 3))
  wide = estimated([-0.9, 0.0, 0.9], [0, 1, 2])
  assert wide.cautious_se == wide.se
  assert 0 < tight.p < 0.05 < wide.p


def test_bootstrap_has_the_spread_of_each_level():
  rng = np.random.default_rng(0)
  items = constant(np.array([0.3, 0.3]), items=50)
  only_items = statistics.bootstrap(items, [0, 1], 4000, rng)
  assert only_items.std() == pytest.approx(np.sqrt(0.3 * 0.7 / 50 / 2), rel=0.05)
  worlds = constant(np.array([0.0, 0.0, 1.0, 1.0]))
  assert set(np.unique(statistics.bootstrap(worlds, [5, 5, 9, 9], 400, rng))) == {0.0, 0.5, 1.0}
  seeds = constant(np.array([0.0, 1.0, 0.0, 1.0]))
  drawn = statistics.bootstrap(seeds, [5, 5, 9, 9], 4000, rng)
  assert drawn.std() == pytest.approx(0.5 / np.sqrt(4), rel=0.05)
  assert drawn.mean() == pytest.approx(0.5, abs=0.02)


def test_estimate_is_a_function_of_its_seed_and_ignores_the_order_of_replicas():
  rates, worlds = np.array([-0.5, -0.2, -0.4, -0.1]), np.array([0, 0, 1, 1])
  assert estimated(rates, worlds) == estimated(rates, worlds)
  order = [2, 3, 0, 1]
  shuffled = estimated(rates[order], worlds[order])
  assert shuffled.effect == pytest.approx(estimated(rates, worlds).effect)
  assert shuffled.per_replica == pytest.approx(rates[order])
  assert shuffled.p == pytest.approx(estimated(rates, worlds).p)


@pytest.mark.parametrize('worlds, seeds', [(2, 2), (4, 2), (5, 1)])
def test_interval_covers_and_p_is_honest_when_worlds_vary(worlds, seeds):
  rng = np.random.default_rng(worlds)
  labels = np.repeat(np.arange(worlds), seeds)
  truth, covered, significant = -0.2, [], []
  for i in range(300):
    by_world = rng.normal(truth, 0.15, worlds)[labels] + rng.normal(0, 0.05, worlds * seeds)
    treatment = rng.random((worlds * seeds, 80)) < 0.5 + by_world[:, None] / 2
    control = rng.random((worlds * seeds, 80)) < 0.5 - by_world[:, None] / 2
    difference = treatment.astype(float) - control
    how = {'prior_sd': 0.15, 'draws': 100, 'confidence': 0.95, 'seed': i}
    found = statistics.estimate(difference, labels, **how)
    covered.append(found.low <= truth <= found.high)
    centred = statistics.estimate(difference - truth, labels, **how)
    significant.append(centred.p < 0.05)
  assert np.mean(covered) > 0.93
  assert np.mean(significant) < 0.08


def test_an_effect_in_all_replicas_is_supported():
  verdict, why = decided([-0.7, -0.6, -0.55, -0.74], [0, 0, 1, 1])
  assert verdict == SUPPORTED and 'all 4 replicas' in why


def test_the_same_effect_in_the_other_direction_is_contradicted():
  verdict, why = decided([-0.7, -0.6, -0.55, -0.74], [0, 0, 1, 1], direction='higher')
  assert verdict == CONTRADICTED and 'opposite' in why


def test_one_replica_of_another_sign_is_inconclusive():
  verdict, why = decided([-0.9, -0.9, -0.9, 0.01], [0, 1, 2, 3])
  assert verdict == INCONCLUSIVE and '3 of 4 replicas' in why
  verdict, why = decided([-0.9, -0.9, -0.9, 0.0], [0, 1, 2, 3])
  assert verdict == INCONCLUSIVE and '3 of 4 replicas' in why


def test_holm_can_take_support_away():
  rates, worlds = [-0.25, -0.3, -0.35, -0.3, -0.28], [0, 1, 2, 3, 4]
  assert decided(rates, worlds, claims=1)[0] == SUPPORTED
  verdict, why = decided(rates, worlds, claims=400)
  assert verdict == INCONCLUSIVE and 'Holm' in why


def test_a_null_is_inconclusive_with_few_worlds_and_contradicted_with_many():
  few = decided([0.02, -0.03, 0.01, -0.02], [0, 0, 1, 1])
  assert few[0] == INCONCLUSIVE
  many = decided(np.tile([0.02, -0.03, 0.01, 0.0], 10), np.arange(40))
  assert many[0] == CONTRADICTED and 'an effect of 0.1' in many[1]


def test_holm_can_take_contradiction_away():
  rates, worlds = [0.03, -0.05, 0.0, -0.02, 0.05, -0.01, 0.02, -0.03] * 2, np.arange(16)
  alone, among_many = (decided(rates, worlds, claims=claims) for claims in (1, 10_000))
  assert alone[0] == CONTRADICTED
  assert among_many[0] == INCONCLUSIVE and 'but not after Holm' in among_many[1]


@pytest.mark.parametrize('direction, sign', [('lower', -1), ('higher', 1)])
def test_the_p_of_falling_short_meets_the_interval_at_its_end(direction, sign):
  """The smallest effect of interest being the end of the t interval, p is 1 - confidence."""
  rates = sign * np.array([0.2, 0.1, 0.25, 0.15, 0.3])
  found = estimated(rates, range(5))
  half_width = special.stdtrit(found.df, 0.975) * found.cautious_se
  end = sign * found.effect + half_width
  assert found.p_short(direction, end) == pytest.approx(0.05)
  assert found.p_short(direction, sign * found.effect) == 1


def test_a_sure_but_small_effect_is_not_support():
  verdict, why = decided(np.full(10, -0.08), np.arange(10), claims=1)
  assert verdict == INCONCLUSIVE and 'below 0.1' in why


@pytest.mark.parametrize('size', [0.98, 1.02])
def test_detectable_is_where_support_begins(size):
  worlds = np.arange(5)
  spread = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])
  found = estimated(spread - 0.5, worlds)
  least = statistics.detectable(found, claims=8, **LIMITS)
  at = statistics.estimate(
    constant(spread - 0.5) + 0.5 - size * least,
    worlds,
    prior_sd=0.15,
    draws=100,
    confidence=0.95,
    seed=0,
  )
  verdict, _ = statistics.decide(at, 8 * at.p, 1.0, direction='lower', **LIMITS)
  assert verdict == (SUPPORTED if size > 1 else INCONCLUSIVE)


@pytest.mark.parametrize('worlds, claims', [(2, 1), (6, 13), (8, 100)])
def test_what_the_prior_alone_asks_for_is_what_like_worlds_could_see(worlds, claims):
  alike = statistics.estimate(
    np.full((worlds, 10), -0.5),
    range(worlds),
    prior_sd=statistics.PRIOR_SD['rate'],
    draws=10,
    confidence=0.95,
    seed=0,
  )
  seen = statistics.detectable(alike, claims=claims, confidence=0.95, smallest_effect=0.0)
  least = statistics.least_detectable('rate', worlds=worlds, claims=claims, confidence=0.95)
  assert least == pytest.approx(seen)
