"""No number without its interval."""

import math

import numpy as np
import pytest

from whyjax import results
from whyjax.errors import UserError
from whyjax.scaling import estimate
from whyjax.scaling.estimate import Estimate, Refusal
from whyjax.scaling.settings import Settings


@pytest.mark.parametrize('bare', [0.34, np.float64(0.34), (0.34, 0.31, 0.38)])
@pytest.mark.parametrize('formatter', [estimate.say, estimate.factor])
def test_formatters_refuse_a_bare_number(formatter, bare):
  with pytest.raises(TypeError, match='only an Estimate can be printed'):
    formatter(bare)


@pytest.mark.parametrize('ends', [(1.0, 1.1, 2.0), (1.0, 0.5, 0.9), (1.0, -math.inf, 2.0)])
def test_an_estimate_lies_in_its_finite_interval(ends):
  with pytest.raises(ValueError):
    Estimate(*ends)


def test_numbers_are_written_for_people():
  assert estimate.say(Estimate(0.3478, 0.31151, 0.38)) == '0.348 [0.312, 0.38]'
  assert estimate.say(Estimate(48_123.0, 9_090.4, 1.5e6)) == '48,100 [9,090, 1,500,000]'
  assert estimate.say(Estimate(1.9312, 1.9308, 1.9316)) == '1.931 [1.931, 1.932]'
  assert estimate.say(Estimate(20019.20, 20019.13, 20019.23)) == '20,019.2 [20,019.1, 20,019.2]'
  assert estimate.say(Estimate(0.0, 0.0, 0.0)) == '0 [0, 0]'
  assert estimate.number(1_048_576, 7) == '1,048,576'
  assert [estimate.number(v, 7) for v in (100_000, 12.5)] == ['100,000', '12.5']
  assert estimate.factor(Estimate(-1.0, -1.3, 0.2)) == '1/10 [1/20, 1.6]'
  assert estimate.factor(Estimate(0.001, 0.0, 0.002)) == '1.002 [1.000, 1.005]'
  assert [results.factor(0.996, digits) for digits in (2, 3)] == ['9.9', '9.91']
  assert [results.factor(v) for v in (0.999, 2.996, 0.0, -0.7)] == ['10', '991', '1.0', '1/5.0']
  assert estimate.factor(Estimate(1.7, 1.6, 2.9996)) == '50 [40, 999]'
  assert estimate.percent(Estimate(0.012, -0.003, 0.021)) == '+1.20% [-0.30%, +2.10%]'
  assert estimate.percent(Estimate(-1e-6, -2e-6, 3e-6)) == '-0.0001% [-0.0002%, +0.0003%]'
  assert estimate.say(Refusal('b', 'only one value of D')) == 'not estimated (only one value of D)'
  assert str(Refusal('b', 'only one value of D')) == 'b: only one value of D'


def test_a_percentile_interval_stretches_about_the_value():
  samples = np.linspace(0, 10, 1001)
  plain = estimate.of_samples(4.0, samples, 0.9)
  wide = estimate.of_samples(4.0, samples, 0.9, stretch=2.0)
  np.testing.assert_allclose((plain.low, plain.high), (0.5, 9.5))
  np.testing.assert_allclose((wide.low, wide.high), (-3.0, 15.0))
  beside = estimate.of_samples(20.0, samples, 0.9)
  assert beside.high == beside.value == 20.0, 'the interval holds its value, skewed as it may be'


@pytest.mark.parametrize(
  'change, told',
  [
    ({'confidence': 1.0}, r'Settings\.confidence = 1\.0: must be between 0\.5 and 1'),
    ({'resamples': 3}, r'Settings\.resamples = 3: must be a whole number, at least 20'),
    ({'reach': 0.5}, r'Settings\.reach = 0\.5: must be a number, at least 1'),
    ({'matched': 1.5}, r'Settings\.matched = 1\.5: must be between 0 and 1'),
    ({'rests': ()}, r'Settings\.rests = \(\): must be numbers between 0 and 1'),
    ({'confidence': None}, r'Settings\.confidence = None: must be between 0\.5 and 1'),
    ({'check': 'a'}, r"Settings\.check = 'a': must be between 0 and 1"),
    ({'resamples': 50.5}, r'Settings\.resamples = 50\.5: must be a whole number'),
    ({'resamples': '60'}, r"Settings\.resamples = '60': must be a whole number"),
    ({'seed': -1}, r'Settings\.seed = -1: must be a whole number, at least 0'),
    ({'reach': math.inf}, r'Settings\.reach = inf: must be a number, at least 1'),
    ({'exponents': 3}, r'Settings\.exponents = 3: must be numbers above 0'),
    ({'huber': 0.0}, r'Settings\.huber = 0\.0: must be above 0'),
  ],
)
def test_a_setting_that_cannot_be_is_named(change, told):
  with pytest.raises(UserError, match=told):
    Settings(**change)
