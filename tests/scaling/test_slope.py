"""Straight lines through ratios and advantages: what they hold fixed, and when there is none."""

import itertools

import numpy as np
import pytest

from whyjax.scaling import estimate, slope
from whyjax.scaling.bootstrap import Draws
from whyjax.scaling.estimate import Estimate, Refusal
from whyjax.scaling.ratio import Advantage, Ratio
from whyjax.scaling.settings import Settings

SETTINGS = Settings(resamples=200)
SIZES = (1e5, 1e6, 1e7)
AT_EQUAL_COMPUTE = [(n, c / 6 / n) for n, c in itertools.product(SIZES, (1e13, 1e14, 1e15))]


def _draws(worlds=4):
  stretch = estimate.few_worlds(worlds, SETTINGS.confidence)
  return Draws(tuple(range(worlds)), {}, {}, stretch, SETTINGS)


def _samples(values, noise, seed, worlds=4):
  """[points, 1 + 2 resamples] as `bootstrap.rates` would give them of worlds so far apart."""
  rng = np.random.default_rng(seed)
  own = np.array(values)[:, None] + rng.normal(0, noise, (len(values), worlds))
  weights = rng.dirichlet(np.ones(worlds), SETTINGS.resamples)
  mean = own.mean(axis=1, keepdims=True)
  return np.concatenate([mean, own @ weights.T, np.tile(mean, SETTINGS.resamples)], axis=1)


def _ratios(places, log_ratio, noise=0.02, seed=0, worlds=4):
  samples = _samples([log_ratio(*p) for p in places], noise, seed, worlds)
  drawn = _draws(worlds)
  return [
    Ratio((int(n), int(d)), 'why', 'what', worlds, drawn.interval(own), samples=own)
    for (n, d), own in zip(places, samples, strict=True)
  ]


def _advantages(values, noise=0.005, seed=0):
  return [
    Advantage((10**6, 10**6), 'why', 'what', 10.0**i, 4, Estimate(own[0], own[0], own[0]), own)
    for i, own in enumerate(_samples(values, noise, seed))
  ]


def test_what_d_does_is_not_taken_for_what_n_does():
  """At equal compute large models have read less. A line in log N alone gives .3."""
  moved = slope.by_size(
    _ratios(AT_EQUAL_COMPUTE, lambda n, d: -0.3 * np.log10(d / 1e7)), 'ratio', _draws()
  )
  assert moved.holds(0) and abs(moved.value) < 0.05
  moved = slope.by_size(
    _ratios(AT_EQUAL_COMPUTE, lambda n, d: 0.2 * np.log10(n) - 0.3 * np.log10(d)), 'r', _draws()
  )
  assert moved.holds(0.2) and abs(moved.value - 0.2) < 0.05


@pytest.mark.parametrize('tokens', [lambda n: 20 * n, lambda n: 1e14 / n], ids=['20 N', 'compute'])
def test_where_d_follows_from_n_there_is_no_slope_in_n(tokens):
  found = slope.by_size(_ratios([(n, tokens(n)) for n in SIZES], lambda n, d: -1.0), 'r', _draws())
  assert isinstance(found, Refusal) and 'D follows from N' in found.why


def test_a_slope_at_equal_d_has_a_place_left_to_test_it_by():
  """Through three places there is a plane for any ratios."""
  places = [(1e5, 1e6), (1e6, 1e6), (1e7, 1e7)]
  found = slope.by_size(_ratios(places, lambda n, d: -1.0 * (n == 1e6)), 'r', _draws())
  assert found.why == '3 places; a slope at equal D needs 4'


@pytest.mark.parametrize(
  'tokens, told', [((1e6, 1e6, 1.3e6), True), ((2e6, 2.6e7, 2e8), False)], ids=['one D', '20 N']
)
def test_d_that_hardly_varies_is_one_and_d_near_a_law_of_n_follows_from_it(tokens, told):
  found = _ratios(list(zip(SIZES, tokens, strict=True)), lambda n, d: -0.3 * np.log10(n))
  moved = slope.by_size(found, 'r', _draws())
  assert isinstance(moved, Estimate) == told
  assert moved.holds(-0.3) if told else 'D follows from N' in moved.why


def test_a_u_has_no_slope():
  found = slope.by_dose(_advantages([-0.05, -0.26, -0.1, -0.01]), 'advantage', _draws())
  assert found.why.startswith('they lie on no straight line: it misses them by 0.08')
  valley = _ratios([(n, 1e6) for n in SIZES], lambda n, d: -1.0 * (n == 1e6))
  assert 'no straight line' in slope.by_size(valley, 'r', _draws()).why


def test_worlds_enough_tell_a_bend_from_their_noise():
  """Each point alone would not: the largest of four t tests, of four worlds, tells one in two."""
  told = [
    slope.by_dose(_advantages([-0.05, -0.26, -0.1, -0.01], 0.05, seed), 'advantage', _draws())
    for seed in range(100)
  ]
  assert np.mean([isinstance(found, Refusal) for found in told]) > 0.6


def test_noise_is_rarely_taken_for_a_bend():
  told = [
    slope.by_dose(_advantages([0.0, -0.1, -0.2, -0.3, -0.4], 0.15, seed), 'advantage', _draws())
    for seed in range(200)
  ]
  assert np.mean([isinstance(found, Refusal) for found in told]) <= 0.03
  assert np.mean([found.holds(-0.1) for found in told if isinstance(found, Estimate)]) >= 0.9


def test_a_bend_too_small_to_matter_is_none():
  found = slope.by_dose(_advantages([0.0, -0.12, -0.2, -0.31], noise=1e-5), 'advantage', _draws())
  assert isinstance(found, Estimate)
