"""Misaligned share against alignment tokens, and the ratio of tokens of two arms."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from scipy import optimize

from benchmarks import law_coverage as simulated
from whyjax.scaling import bootstrap, cells, complete, dose_law, logistic, ratio
from whyjax.scaling.estimate import Estimate, Refusal
from whyjax.scaling.settings import Settings

SETTINGS = Settings(resamples=100)
NONE = (0.0, 0.0, 0.0)  # worlds all alike
SHARP = {'sizes': (1e6,), 'items': 10**7, 'spread': NONE, 'slope': 0.0}


def _laws(rows, settings=SETTINGS, arms=('why', 'what')):
  """(draws, the law of each arm) at the one place of these rows."""
  table = cells.from_rows(rows).rates
  drawn = bootstrap.draws(table, settings)
  own = [[c for c in table if c.arm in ('', arm)] for arm in arms]
  return drawn, *(dose_law.fit(o, a, drawn, settings) for o, a in zip(own, arms, strict=True))


def _advantages(rows):
  table = cells.from_rows(rows).rates
  return ratio.advantages(table, ('why', 'what'), bootstrap.draws(table, SETTINGS), SETTINGS)


def _ratio(rows, settings=SETTINGS):
  drawn, why, what = _laws(rows, settings)
  return ratio.ratio(why, what, drawn, settings)


def _rates(rates_by_dose, worlds=4, items=200):
  """Rows of one arm at one place with these rates, alike in all worlds."""
  cell = {'parameters': 10**6, 'tokens': 10**6, 'seed': 0, 'items': items}
  return [
    cell | {'world': w, 'arm': 'what' if a else '', 'alignment_tokens': a, 'rate': r}
    for w in range(worlds)
    for a, r in rates_by_dose.items()
  ]


def test_the_jacobian_and_the_inverse_are_those_of_the_curve():
  theta, x = np.array([0.1, 0.9, 9.0, 0.4]), np.array([-np.inf, 7.0, 9.5, 12.0])
  steps = 1e-6 * np.eye(4)
  numeric = [(logistic.curve(theta + s, x) - logistic.curve(theta - s, x)) / 2e-6 for s in steps]
  np.testing.assert_allclose(logistic.jacobian(theta, x), np.stack(numeric, axis=-1), atol=1e-8)
  np.testing.assert_allclose(logistic.curve(theta, x)[0], 0.9)
  at = logistic.tokens_at(np.tile(theta, (3, 1)), np.array([0.5, 0.95, 0.05]))
  np.testing.assert_allclose(at, [9.0, -np.inf, np.inf])


def test_the_fit_is_that_of_l_bfgs_b():
  x = np.array([-np.inf, *np.log(simulated.DOSES)])
  truth = np.array([0.1, 0.9, np.log(2e4), 0.4])
  rng = np.random.default_rng(0)
  rates = np.clip(logistic.curve(truth, x) + rng.normal(0, 0.05, (3, 6)), 0, 1)
  weights = np.full((3, 6), 50.0)
  starts = logistic.starts(x, rates.mean(axis=0))
  losses = [logistic.fit(x, rates, weights, np.tile(s, (3, 1)), 10.0)[1] for s in starts]
  ends = (np.log(simulated.DOSES[0]) - np.log(10), np.log(simulated.DOSES[-1]) + np.log(10))
  bounds = [(0, 1), (0, 1), ends, np.log(logistic.STEEPNESS)]

  def others(i):
    given = x, rates[i : i + 1], weights[i : i + 1]

    def at(theta):
      return logistic._loss(theta[None], *given)[0], -logistic._slope(theta[None], *given)[0][0]

    return min(optimize.minimize(at, s, jac=True, bounds=bounds).fun for s in starts[::5])

  np.testing.assert_allclose(np.min(losses, axis=0), [others(i) for i in range(3)], atol=2e-3)


def test_rates_without_noise_give_curve_and_ratio_back():
  rows = simulated.rates(0, **SHARP)
  drawn, why, what = _laws(rows)
  for name, truth in simulated.CURVE.items():
    np.testing.assert_allclose(what.findings[name].value, truth, rtol=0.02)
  found = ratio.ratio(why, what, drawn, SETTINGS)
  np.testing.assert_allclose(found.log_ratio.value, simulated.SHIFT, atol=0.01)
  [*_, full] = what.rates
  smallest = what.rates[1]
  matched = full.value + 0.1 * (smallest.value - full.value)
  np.testing.assert_allclose(found.matched.value, matched, atol=0.005)


@pytest.mark.parametrize('matched', [0.3, 0.5, 0.7])
def test_a_ratio_of_shifted_curves_is_the_same_at_every_rate(matched):
  settings = Settings(resamples=100, matched=matched)
  found = _ratio(simulated.rates(0, **SHARP), settings)
  assert found.matched == Estimate(matched, matched, matched)
  np.testing.assert_allclose(found.log_ratio.value, simulated.SHIFT, atol=0.01)


def test_worlds_count_alike_however_many_items_they_were_asked():
  """One world of four is asked fifty times as much."""
  rows = [r for r in _rates({0: 0.8, 1000: 0.5}) if r['alignment_tokens']]
  for row, rate in zip(rows, (0.2, 0.4, 0.6, 0.8), strict=True):
    row['rate'] = rate
  rows[0]['items'] = 10_000
  group = cells.from_rows(rows).rates
  [effective] = bootstrap.effective_items([group])
  assert effective.max() == effective.min() < 10
  drawn = bootstrap.draws(group, SETTINGS)
  np.testing.assert_allclose(bootstrap.rates(group, effective, drawn)[0][0], 0.5)
  alike = [dataclasses.replace(c, rate=0.5) for c in group]
  [effective] = bootstrap.effective_items([alike])
  items = [c.items for c in alike]
  np.testing.assert_allclose(
    effective, 4 / np.sum(1 / np.array(items)), err_msg='nothing is shared'
  )


def test_intervals_are_over_worlds_and_not_over_items():
  """Ten times the items hardly narrow what worlds disagree about; many more worlds do."""

  def width(**design):
    found = _laws(simulated.rates(0, sizes=(1e6,), **design))[2].findings['midpoint']
    return np.log(found.high / found.low)

  base = width(worlds=5, items=100)
  assert width(worlds=5, items=1000) > 0.7 * base
  assert width(worlds=80, items=100) < 0.6 * base


def test_what_moves_all_arms_of_a_world_alike_does_not_blur_their_ratio():
  spreads = {'together': (1.0, 0.0, 0.0), 'apart': (0.0, 1.0, 0.0)}
  widths = {}
  for name, spread in spreads.items():
    found = _ratio(simulated.rates(1, sizes=(1e6,), worlds=6, items=1000, spread=spread))
    widths[name] = found.log_ratio.high - found.log_ratio.low
  assert widths['together'] < 0.5 * widths['apart']


def test_rates_of_zero_have_an_interval_too():
  law = _laws(_rates({0: 0.9, 100: 0.6, 1000: 0.1, 10_000: 0.0, 100_000: 0.0}), arms=('what',))[1]
  assert law.rates[-1].low == law.rates[-1].value == 0
  assert 0 < law.rates[-1].high < 0.02


@pytest.mark.parametrize(
  'given, why',
  [
    (
      {0: 0.9, 10: 0.5, 100: 0.1},
      '3 doses (A = 0, 10, 100); a floor, a ceiling and a slope need 4',
    ),
    (
      {0: 0.9, 10: 0.04, 100: 0.01, 1000: 0.02},
      'all rates after alignment are at the floor (at most 0.04): smaller doses are needed',
    ),
    (
      {0: 0.02, 10: 0.04, 100: 0.01, 1000: 0.02},
      'all rates are at the floor, without alignment too (0.02): nothing can fall',
    ),
    (
      {0: 1.0, 10: 0.98, 100: 0.97, 1000: 0.96},
      'all rates are at the ceiling (at least 0.96): larger doses are needed',
    ),
    (
      {0: 0.5, 10: 0.5, 100: 0.48, 1000: 0.45},
      'from A = 0 to 1,000 the rate falls by 0.05; a curve needs a sure fall, of 0.1 or more',
    ),
    (
      {10: 0.5, 20: 0.5, 100: 0.6, 1000: 0.75},
      'from A = 10 to 1,000 the rate rises by 0.25; a curve needs a sure fall, of 0.1 or more',
    ),
  ],
)
def test_doses_without_a_curve_keep_their_rates(given, why):
  law = _laws(_rates(given), arms=('what',))[1]
  [told] = {f.why for f in law.findings.values()}
  assert re.sub(r' \[[^]]*\]', '', told) == why
  assert ' [' in told or 'doses' in told.split(' (')[0], 'a number with its interval'
  assert [f.value for f in law.rates] == pytest.approx(list(given.values()))
  assert all(f.low < f.value < f.high for f in law.rates if f.value < 1)


def test_too_few_worlds_give_no_number():
  rows = simulated.rates(0, sizes=(1e6,), worlds=2)
  _, why, _ = _laws(rows)
  told = {f.why for f in (*why.findings.values(), *why.rates)}
  assert told == {'2 worlds; an interval over worlds needs at least 3'}
  assert isinstance(_ratio(rows).log_ratio, Refusal)
  assert isinstance(_ratio(rows, Settings(resamples=100, least_worlds=2)).log_ratio, Estimate)


def test_a_fall_before_the_first_dose_has_no_midpoint():
  given = {0: 0.9, 1000: 0.35, 3000: 0.2, 10_000: 0.13, 30_000: 0.11}
  law = _laws(_rates(given, items=10_000), arms=('what',))[1]
  assert (
    law.findings['midpoint'].why == 'the midpoint lies below the doses tried (A = 1,000 to 30,000)'
  )
  assert isinstance(law.findings['steepness'], Refusal)
  assert law.findings['ceiling'].holds(0.9)


@pytest.mark.parametrize(
  'shift, told',
  [
    (
      -2.5,
      r'smallest dose .* below the rate of 0\.\d+ \[.* less than 1/5\d \[1/.*smaller doses are',
    ),
    (
      0.9,
      r'full dose .* above the rate of 0\.\d+ \[.* more than 1\.\d \[\d.*larger doses are needed',
    ),
  ],
)
def test_a_crossing_outside_of_the_doses_is_a_bound(shift, told):
  found = _ratio(simulated.rates(0, sizes=(1e6,), shift=shift, spread=NONE, items=1000))
  assert isinstance(found.log_ratio, Refusal)
  assert found.samples is None
  assert re.search(f'a bound: why is at its {told}', found.log_ratio.why)


def test_a_matched_rate_off_the_control_is_refused():
  for rate, told in ((0.95, 'already below'), (0.05, 'still above')):
    found = _ratio(simulated.rates(0, **SHARP), Settings(resamples=100, matched=rate))
    assert f'{told} the matched rate of {rate} [' in found.log_ratio.why


def test_a_curve_that_misses_its_doses_predicts_nothing():
  given = {0: 0.9, 100: 0.2, 1000: 0.8, 10_000: 0.15, 100_000: 0.6, 1_000_000: 0.1}
  rows = _rates(given)
  rng = np.random.default_rng(0)
  for row in rows:
    row['rate'] = float(np.clip(row['rate'] + rng.normal(0, 0.01), 0, 1))
  drawn, law = _laws(rows, arms=('what',))
  assert 'the curve misses its own doses by' in law.fails
  assert law.fails in dose_law.predict(law, 500, drawn, SETTINGS).why


def test_worlds_that_agree_to_the_digit_do_not_make_a_curve_right():
  """Then no replicates tell what is noise: the size of the misfit decides."""
  _, law = _laws(_rates({0: 1.0, 100: 0.0, 1000: 1.0, 10_000: 0.0, 100_000: 0.0}), arms=('what',))
  assert re.fullmatch(
    r'the curve misses its own doses by 0\.\d+ \(and nothing says how much of that is noise\)',
    law.fails,
  )
  _, sound = _laws(_rates({0: 1.0, 100: 1.0, 1000: 0.5, 10_000: 0.0, 100_000: 0.0}), arms=('what',))
  assert not sound.fails


def test_four_doses_of_worlds_that_differ_are_not_taken_for_a_misfit():
  """They leave a curve nothing free, and bounds hinder it where the rates turn back by chance."""
  rates = {
    0: (0.6, 0.8, 0.4),
    10_000: (0.2, 0.4, 0.2),
    100_000: (0.0, 0.1, 0.0),
    10**6: (0.2, 0.4, 0.1),
  }
  rows = [
    r | {'rate': rates[r['alignment_tokens']][r['world']]}
    for r in _rates(dict.fromkeys(rates, 0.0), worlds=3, items=10)
  ]
  assert not _laws(rows, arms=('what',))[1].fails


def test_a_bound_is_told_where_it_is_sure_and_no_ratio_where_it_is_not():
  """The arms are equal, and the full dose lies a fifth beyond where they come to the rate."""
  told = []
  for seed in range(20):
    rows = simulated.rates([11, seed], sizes=(1e6,), shift=0.0, spread=(0.0, 0.0, 0.3), slope=0.0)
    full = max(r['alignment_tokens'] for r in rows)
    rows = [r for r in rows if r['arm'] != 'why' or r['alignment_tokens'] < full / 2]
    told.append(_ratio(rows, Settings(resamples=100, matched=0.3)).log_ratio)
  wrong = [
    f
    for f in told
    if (isinstance(f, Estimate) and not f.holds(0))
    or (isinstance(f, Refusal) and re.search(r'needs (more than [2-9]|less than 1/[2-9])', f.why))
  ]
  assert len(wrong) <= 2


@pytest.mark.parametrize(
  'rates, told',
  [
    ((0.04, 0.01, 0.0, 0.0, 0.0), 'at its smallest dose .* below .* less than 1/'),
    ((0.9, 0.9, 0.9, 0.88, 0.9), 'at its full dose .* above .* more than '),
    ((0.3, 0.1, 0.3, 0.1, 0.3), 'why has no curve: from A'),
  ],
)
def test_an_arm_without_a_curve_is_bounded_by_its_rates_where_they_are_sure(rates, told):
  rows = simulated.rates(0, sizes=(1e6,), spread=NONE, items=1000)
  rows = [r for r in rows if r['arm']]  # the dose of 0 would be the ceiling of both
  for world in range(4):
    own = [r for r in rows if (r['arm'], r['world']) == ('why', world)]
    for row, rate in zip(sorted(own, key=lambda r: r['alignment_tokens']), rates, strict=True):
      row['rate'] = rate
  found = _ratio(rows).log_ratio
  assert isinstance(found, Refusal) and re.search(told, found.why)


def test_predictions_reach_ten_times_and_no_more():
  drawn, _, what = _laws(simulated.rates(0, **SHARP))
  theta = np.array([0.1, 0.9, np.log(2e4), np.log(1.5)])
  truth = logistic.curve(theta, np.log([5e5]))[0]
  np.testing.assert_allclose(dose_law.predict(what, 5e5, drawn, SETTINGS).value, truth, atol=0.01)
  np.testing.assert_allclose(dose_law.predict(what, 0, drawn, SETTINGS).value, 0.9, atol=0.01)
  for dose in (2e6, 50):
    assert 'times beyond the doses tried' in dose_law.predict(what, dose, drawn, SETTINGS).why


def test_advantages_stand_at_doses_that_both_have():
  rows = simulated.rates(0, **SHARP)
  rows = [r for r in rows if not (r['arm'] == 'why' and r['alignment_tokens'] > 5e4)]
  found = _advantages(rows)
  assert len(found) == 4
  for a in found:
    truth = [
      logistic.curve(np.array([0.1, 0.9, np.log(2e4 * moved), np.log(1.5)]), np.log([a.dose]))[0]
      for moved in (10**simulated.SHIFT, 1.0)
    ]
    np.testing.assert_allclose(a.difference.value, truth[0] - truth[1], atol=0.01)


def test_equal_cells_give_equal_findings_in_any_order():
  rows = simulated.rates(0, sizes=(1e6,), seeds=2)
  assert _ratio(rows).log_ratio == _ratio(rows[::-1]).log_ratio


def test_worlds_count_the_same_however_many_seeds_they_have():
  rows = _rates({0: 0.9, 1000: 0.3}, worlds=3)
  many = [row | {'seed': s, 'rate': 0.9} for row in rows[:2] for s in range(6)]  # of world 0
  _, law = _laws([*many, *rows[2:]], arms=('what',))
  assert law.rates[1].value == pytest.approx((0.9 + 0.3 + 0.3) / 3)


def test_no_rate_without_alignment_is_predicted_where_none_was_tried():
  rows = [row for row in simulated.rates(0, **SHARP) if row['arm'] == 'what']
  drawn, law = _laws(rows, arms=('what',))
  assert (
    'no model without alignment tokens was tried' in dose_law.predict(law, 0, drawn, SETTINGS).why
  )


def _of_worlds(rates_by_dose, away, lacking=lambda row: False):
  """Rows of two equal arms, whose worlds lie so far from the mean."""
  rows = [
    r | {'rate': r['rate'] + away[r['world']] * bool(r['arm'])} for r in _rates(rates_by_dose)
  ]
  rows += [r | {'arm': 'why'} for r in rows if r['arm']]
  return [r for r in rows if not lacking(r)]


def test_a_dose_of_few_worlds_is_no_mean_over_worlds():
  """It would be that of the few, with an interval that knows nothing of the rest."""
  rates = {0: 0.9, 1000: 0.7, 3000: 0.6, 10000: 0.5, 30000: 0.3}
  away = (0.2, -0.2, 0.1, -0.1)
  rows = _of_worlds(rates, away, lambda r: r['alignment_tokens'] == 10000 and r['world'] != 1)
  _, why, _ = _laws(rows)
  assert why.doses == pytest.approx((0, 1000, 3000, 30000)) and why.worlds == (0, 1, 2, 3)


def test_arms_are_compared_in_the_same_worlds_at_every_dose():
  """The worlds differ, the arms do not; at the largest dose they were run in different worlds."""

  def lacking(r):
    return r['alignment_tokens'] == 30000 and (r['arm'] == 'what') != (r['world'] == 0)

  rows = _of_worlds(
    dict.fromkeys((0, 1000, 3000, 10000, 30000), 0.5), (-0.4, 0.1, 0.1, 0.2), lacking
  )
  found = _advantages(rows)
  assert len(found) == 3 and all(abs(a.difference.value) < 1e-9 for a in found)


def test_a_rate_that_the_control_hardly_reaches_has_no_ratio():
  """Where its resamples end above the rate, the interval would end where predictions may."""
  rows = [r for r in simulated.rates(5) if r['parameters'] == simulated.rates(5)[0]['parameters']]
  _, _, what = _laws(rows)
  near = logistic.curve(what.theta[0], np.log([what.doses[-1]])).item() + 0.002
  found = _ratio(rows, Settings(resamples=100, matched=near))
  assert re.search('in .*% of resamples what comes to the matched rate', found.log_ratio.why)


def test_a_share_of_resamples_without_a_crossing_is_of_one_half_of_the_bootstrap():
  """4% of one half are beyond what its interval leaves out; of both together they are 2%."""
  rows = [r for r in simulated.rates(0) if r['parameters'] == 10**6]
  drawn, why, what = _laws(rows)
  theta = np.broadcast_to(why.theta[0], why.theta.shape).copy()

  def found():
    moved = dataclasses.replace(why, theta=theta)
    return ratio.ratio(moved, what, drawn, SETTINGS).log_ratio

  assert isinstance(found(), Estimate)
  theta[1 : 1 + SETTINGS.resamples // 25, 0] = 0.89  # a floor that is hardly one
  assert found().why.startswith('in 4% of resamples why comes to the matched rate')


def test_the_table_without_holes_is_the_largest_that_is_there():
  """One dose in six worlds, four in five others: the five."""
  rows = [
    r | {'alignment_tokens': a, 'arm': 'what', 'world': w, 'rate': 0.5}
    for r in _rates({0: 0.9}, worlds=1)
    for a, own in ((1000, range(6)), *((a, range(6, 11)) for a in (3000, 10**4, 30_000, 10**5)))
    for w in own
  ]
  kept, left_out = complete.table(cells.from_rows(rows).rates, ['what'], 3)
  assert {(c.alignment_tokens, c.world) for c in kept} == {
    (a, w) for a in (3000, 10**4, 30_000, 10**5) for w in range(6, 11)
  }
  assert [str(r) for r in left_out] == [
    'rate at A = 1,000: left out: missing in worlds 6, 7, 8, 9, 10',
    'worlds 0, 1, 2, 3, 4, 5: left out: doses are missing there',
  ]


def test_a_fall_between_two_doses_is_anywhere_between_them():
  """All of 1, then all of 0: the fit stops at any midpoint, of which no interval spoke."""
  rows = _rates({1000: 1.0, 3000: 1.0, 10_000: 1.0, 80_000: 0.0}, items=1000)
  _, law = _laws(rows, arms=('what',))
  found = law.findings['midpoint']
  assert 10_000 < found.low < 14_000 and 60_000 < found.high < 80_000
  assert 'the doses do not bound it' in law.findings['steepness'].why


def test_a_share_of_0_in_all_resamples_is_no_certainty():
  rows = _rates({0: 1.0, 1000: 1.0, 3000: 1.0, 10_000: 0.5, 80_000: 0.0}, items=10**6)
  _, law = _laws(rows, arms=('what',))
  for name in ('floor', 'ceiling'):
    found = law.findings[name]
    assert isinstance(found, Refusal) or found.low < found.high


def test_flat_rates_have_no_curve():
  """Of three worlds' noise a fall of .2 is nothing; it was fitted in 15 of 100."""
  found = []
  for seed in range(20):
    rng = np.random.default_rng(seed)
    rows = [
      r | {'rate': rng.binomial(20, 0.5) / 20}
      for r in simulated.rates(0, sizes=(1e6,), worlds=3, items=20)
    ]
    found += [law.theta is not None for law in _laws(rows)[1:]]
  assert sum(found) <= 3


def test_four_doses_do_not_tell_a_steep_curve_from_a_flat_one():
  """Resamples that began at the best fit alone held the midpoint in 50% to 70% of such tables."""
  held = []
  for seed in range(12):
    rows = [
      r
      | {'alignment_tokens': r['alignment_tokens'] and 10 ** round(np.log10(r['alignment_tokens']))}
      for r in simulated.rates([9, seed], sizes=(1e6,), spread=(0.2, 0.1, 0.0), steepness=3.0)
      if not 2e3 < r['alignment_tokens'] < 5e3 and not 2e4 < r['alignment_tokens'] < 5e4
    ]
    found = [law.findings['midpoint'] for law in _laws(rows)[1:]]
    truths = 2e4 * 10**simulated.SHIFT, 2e4
    held += [f.holds(t) for f, t in zip(found, truths, strict=True) if isinstance(f, Estimate)]
  assert len(held) > 15 and np.mean(held) >= 0.8


@pytest.mark.parametrize('apart', [1.25, 1.5, 2.0, 3.16])
def test_a_step_between_two_doses_is_anywhere_between_them(apart):
  """However close the doses; and so is the ratio of two arms that fall in neighbouring gaps."""
  doses = [round(1000 * apart**i) for i in range(6)]
  rows = []
  for world, dose, arm in itertools.product(range(4), (0, *doses), ('what', 'why')):
    falls = doses[2 + (arm == 'why')]
    row = {'parameters': 10**6, 'tokens': 10**6, 'world': world, 'seed': 0, 'items': 200}
    row |= {'arm': arm, 'alignment_tokens': dose, 'rate': 0.9 if dose <= falls else 0.1}
    if dose or arm == 'what':
      rows.append(row)
  drawn, why, what = _laws(rows)
  for law, i in ((what, 2), (why, 3)):
    found, (low, high) = law.findings['midpoint'], doses[i : i + 2]
    assert low < found.low < low * apart**0.1 and high / apart**0.1 < found.high < high
  found = ratio.ratio(why, what, drawn, SETTINGS).log_ratio
  assert found.low < 0.15 * np.log10(apart) and found.high > 1.85 * np.log10(apart)


def test_a_bound_needs_the_rates_themselves():
  """A curve that smooths them ends above the matched rate, where one dose is surely below it."""
  shares = {'why': (0.9, 0.6, 0.1, 0.2, 0.2), 'what': (0.88, 0.8, 0.5, 0.2, 0.05)}
  rows = []
  for world, (arm, own) in itertools.product(range(4), shares.items()):
    row = {'parameters': 10**6, 'tokens': 10**6, 'world': world, 'seed': 0, 'items': 1000}
    for dose, rate in zip((0, 1000, 3000, 10_000, 30_000, 100_000), (0.9, *own), strict=True):
      off = 0.004 * (world - 1.5) * (dose > 0)
      if dose or arm == 'what':
        rows.append(row | {'arm': arm, 'alignment_tokens': dose, 'rate': rate + off})
  found = _ratio(rows, Settings(resamples=100, matched=0.13)).log_ratio
  assert 'beyond its full dose' in found.why and 'neither a ratio nor a bound is sure' in found.why
