"""What a fit may say of a number: a value with its interval, or a sentence about why there is none.

Nothing in this room prints a bare number: all that formats numbers takes an Estimate.
"""

from collections.abc import Callable
import dataclasses
import math

import numpy as np

from whyjax import results


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A value and its interval, low <= value <= high, all finite."""

  value: float
  low: float
  high: float

  def __post_init__(self):
    if not all(map(math.isfinite, (self.value, self.low, self.high))):
      raise ValueError(f'{self.value} [{self.low}, {self.high}]: must be finite')
    if not self.low <= self.value <= self.high:
      raise ValueError(f'{self.value} [{self.low}, {self.high}]: the value is not in its interval')

  def holds(self, truth: float) -> bool:
    """Whether a number lies in the interval."""
    return self.low <= truth <= self.high


@dataclasses.dataclass(frozen=True)
class Refusal:
  """What can't be estimated, and why."""

  what: str
  why: str

  def __str__(self) -> str:
    return f'{self.what}: {self.why}'


Finding = Estimate | Refusal


def say(found: Finding, digits: int = 3) -> str:
  """'0.34 [0.31, 0.38]', to so many significant digits, or as many as tell its ends apart; of a
  refusal, why.

  Raises:
    TypeError: it is neither an Estimate nor a Refusal: a number does not go without its interval.
  """
  if isinstance(found, Refusal):
    return f'not estimated ({found.why})'
  if not isinstance(found, Estimate):
    raise TypeError(f'{found!r}: only an Estimate can be printed, a number with its interval')
  return _apart(found, number, digits)


def factor(found: Finding) -> str:
  """A ratio given by its log10: '1/5.2 [1/12, 1/2.1]'; otherwise as `say`."""
  if not isinstance(found, Estimate):
    return say(found)
  return _apart(found, results.factor, 2)


def percent(found: Estimate) -> str:
  """A share as a signed percentage: '+1.20% [-0.30%, +2.10%]'."""
  return _apart(found, lambda v, digits: f'{round(v, digits + 2) + 0.0:+.{digits}%}', 2)


def _apart(found: Estimate, written: Callable[[float, int], str], digits: int) -> str:
  """'value [low, high]', each written to so many digits, or to as many as tell the ends apart."""
  while found.low < found.high and digits < 9 and (
    written(found.low, digits) == written(found.high, digits)
  ):  # fmt: skip
    digits += 1
  value, low, high = (written(v, digits) for v in (found.value, found.low, found.high))
  return f'{value} [{low}, {high}]'


def number(value: float, digits: int = 3) -> str:
  """A number of the design (a size, a dose, a limit) to so many significant digits, for people."""
  if value == 0:
    return '0'
  if 1 <= abs(value) < 1e15:
    place = 10 ** (math.floor(math.log10(abs(value))) + 1 - digits)
    if place >= 1:
      return f'{round(value / place) * place:,}'
    if abs(value) >= 1000:
      decimals = 0 if value == round(value) else -math.floor(math.log10(place))
      return f'{value:,.{decimals}f}'
  return f'{value:.{digits}g}'


def of_samples(
  value: float, samples: np.ndarray, confidence: float, stretch: float = 1.0
) -> Estimate:
  """The percentile interval of bootstrap samples, drawn wider about the value by a factor.

  Args:
    value: the estimate from the data as they are.
    samples: [resamples], the same from resampled data.
    confidence: of the interval, e.g. 0.95.
    stretch: by how much the distances from the value to both ends grow.
  """
  low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
  low, high = value + stretch * (low - value), value + stretch * (high - value)
  return Estimate(float(value), float(min(low, value)), float(max(high, value)))


def student(freedom: float, confidence: float) -> float:
  """Student's t quantile over the normal one: what few degrees of freedom add to an interval."""
  from scipy import special  # as slow to import as NumPy; most studies have no law

  probability = (1 + confidence) / 2
  return float(special.stdtrit(freedom, probability) / special.ndtri(probability))


def widening(residuals: int, freedom: int, confidence: float) -> float:
  """How much wider than residuals of a fit noise has to be taken for an interval, where so many of
  them are free."""
  return float(np.sqrt(residuals / freedom)) * student(freedom, confidence)


def few_worlds(worlds: int, confidence: float) -> float:
  """How much wider than its percentiles a bootstrap over so many worlds has to be taken:
  exponential weights of few vary too little, and percentiles know no degrees of freedom."""
  return student(worlds - 1, confidence) * float(np.sqrt((worlds + 1) / (worlds - 1)))
