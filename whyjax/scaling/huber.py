"""A sum of power laws fitted to log losses by Huber's loss: objective, gradient, minimisation.

Search parameters theta: log E, then log level and exponent of each axis, at the centre of the grid
(a level there hardly depends on its exponent, a level at 1 does), then the log levels of all worlds
but the last; the levels of all worlds sum to 0.
"""

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
import itertools

import numpy as np
from scipy import optimize

_LEVEL = (np.log(1e-4), np.log(10.0))  # of a term, in units of the median loss
_EXPONENT = (0.005, 5.0)
_WORLD = (-3.0, 3.0)


@dataclasses.dataclass(frozen=True)
class Data:
  """What is fitted.

  Attributes:
    x: [runs, axes], centred logs.
    y: [runs], log losses in units of their median.
    world: [runs], 0 to worlds - 1.
    threshold: of Huber's loss.
    weights: [runs].
  """

  x: np.ndarray
  y: np.ndarray
  world: np.ndarray
  worlds: int
  threshold: float
  weights: np.ndarray

  @property
  def shared(self) -> int:
    """How many search parameters all worlds share."""
    return 1 + 2 * self.x.shape[1]


def shared(theta: np.ndarray, data: Data) -> np.ndarray:
  """The part of the search parameters that all worlds share."""
  return theta[: data.shared]


def levels(theta: np.ndarray, data: Data) -> np.ndarray:
  """[worlds] log levels; they sum to 0."""
  own = theta[data.shared :]
  return np.append(own, -own.sum())


def law(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
  """[runs] log of the law at centred logs [runs, axes]."""
  return np.logaddexp.reduce(_terms(theta, x), axis=0)


def _terms(theta, x):
  """[1 + axes, runs], logs of the terms."""
  axes = x.shape[1]
  level, exponent = theta[1 : 1 + 2 * axes : 2], theta[2 : 2 + 2 * axes : 2]
  return np.concatenate([np.full((1, len(x)), theta[0]), (level - exponent * x).T])


def fitted(theta: np.ndarray, data: Data) -> np.ndarray:
  """[runs] log loss by law and world."""
  return law(theta, data.x) + levels(theta, data)[data.world]


def jacobian(theta: np.ndarray, data: Data) -> np.ndarray:
  """[runs, parameters], of `fitted`."""
  terms = _terms(theta, data.x)
  shares = np.exp(terms - np.logaddexp.reduce(terms, axis=0))
  columns = np.empty((len(data.y), data.shared))
  columns[:, 0] = shares[0]
  columns[:, 1::2] = shares[1:].T
  columns[:, 2::2] = -shares[1:].T * data.x
  own = np.eye(data.worlds)[data.world]
  return np.column_stack([columns, own[:, :-1] - own[:, -1:]])


def objective(theta: np.ndarray, data: Data) -> tuple[float, np.ndarray]:
  """(sum of Huber losses in units of threshold^2, gradient)."""
  terms = _terms(theta, data.x)
  top = terms.max(axis=0)
  parts = np.exp(terms - top)
  total = parts.sum(axis=0)
  log_law = top + np.log(total)
  if data.worlds > 1:
    log_law = log_law + levels(theta, data)[data.world]
  r = (log_law - data.y) / data.threshold
  clipped = np.clip(r, -1, 1)
  slope = data.weights * clipped / data.threshold
  shares = parts / total * slope  # d objective / d log term
  gradient = np.empty_like(theta)
  gradient[0] = shares[0].sum()
  gradient[1 : data.shared : 2] = shares[1:].sum(axis=1)
  gradient[2 : data.shared : 2] = -(shares[1:] * data.x.T).sum(axis=1)
  if data.worlds > 1:
    of_world = np.bincount(data.world, slope, data.worlds)
    gradient[data.shared :] = of_world[:-1] - of_world[-1]
  return float(np.sum(data.weights * clipped * (r - clipped / 2))), gradient


def starts(axes: int, rests: Sequence[float], exponents: Sequence[float]) -> Iterator[np.ndarray]:
  """Starting points: shares of the loss that can't be reduced, times exponents of each axis."""
  for rest, *powers in itertools.product(rests, *[exponents] * axes):
    level = np.log((1 - rest) / axes)
    yield np.array([np.log(rest), *itertools.chain(*((level, power) for power in powers))])


def minimise(data: Data, begin: Iterable[np.ndarray]) -> np.ndarray:
  """The best search parameters from all starts, within bounds."""
  bounds = [_LEVEL, *[_LEVEL, _EXPONENT] * data.x.shape[1], *[_WORLD] * (data.worlds - 1)]
  means = [np.mean(data.y[data.world == w]) for w in range(data.worlds)]
  of_world = np.array(means[:-1]) - np.mean(means)
  options = {'ftol': 1e-13, 'gtol': 1e-9, 'maxiter': 500, 'maxfun': 5000}
  runs = [
    optimize.minimize(
      objective, np.append(start, of_world), (data,), 'L-BFGS-B', True, bounds=bounds,
      options=options,
    )
    for start in begin
  ]  # fmt: skip
  return min(runs, key=lambda run: run.fun).x


def reweighted(data: Data, best: np.ndarray, weights: np.ndarray) -> Iterator[np.ndarray]:
  """The search parameters for each row of weights [resamples, runs], from the best ones on.

  No bounds: an exponent below 0 says that the loss may rise. The search runs in coordinates in
  which the problem is about round, which halves its steps.
  """
  columns = jacobian(best, data)
  square = columns.T @ columns
  square += 1e-8 * np.diag(np.diag(square)) + 1e-12 * np.trace(square) * np.eye(len(square))
  spread = max(np.std(data.y - fitted(best, data)), 1e-9)
  turn = np.linalg.inv(np.linalg.cholesky(square)).T * spread
  options = {'ftol': 1e-11, 'gtol': 1e-8, 'maxiter': 200}

  def turned(z, own):
    value, gradient = objective(best + turn @ z, own)
    return value, turn.T @ gradient

  for row in weights:
    own = dataclasses.replace(data, weights=row)
    run = optimize.minimize(turned, np.zeros(len(best)), (own,), 'L-BFGS-B', True, options=options)
    yield best + turn @ run.x
