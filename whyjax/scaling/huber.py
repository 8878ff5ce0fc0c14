"""A sum of power laws fitted to log losses by Huber's loss: objective, gradient, minimisation.

Search parameters theta: log E, then log level and exponent of each axis, at the centre of the grid
(a level there hardly depends on its exponent, a level at 1 does), then the log levels of all worlds
but the last; the levels of all worlds sum to 0.
"""

from collections.abc import Sequence
import dataclasses
import itertools

import numpy as np

from whyjax.scaling import minimise


@dataclasses.dataclass(frozen=True)
class Data:
  """What is fitted.

  Attributes:
    x: [runs, axes], centred logs.
    y: [runs], log losses in units of their median.
    world: [runs], 0 to worlds - 1.
    threshold: of Huber's loss.
  """

  x: np.ndarray
  y: np.ndarray
  world: np.ndarray
  worlds: int
  threshold: float

  @property
  def shared(self) -> int:
    """How many search parameters all worlds share."""
    return 1 + 2 * self.x.shape[1]

  @property
  def own(self) -> np.ndarray:
    """[runs, worlds - 1], which of the worlds' parameters adds to a run, and how."""
    indicator = np.eye(self.worlds)[self.world]
    return indicator[:, :-1] - indicator[:, -1:]


def levels(theta: np.ndarray, data: Data) -> np.ndarray:
  """[worlds] log levels; they sum to 0."""
  own = theta[data.shared :]
  return np.append(own, -own.sum())


def law(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
  """[..., runs] log of the law of theta [..., parameters] at centred logs [runs, axes]."""
  return np.logaddexp.reduce(_terms(theta, x), axis=-2)


def _terms(theta, x):
  """[..., 1 + axes, runs], logs of the terms."""
  axes = x.shape[1]
  level, exponent = theta[..., 1 : 1 + 2 * axes : 2], theta[..., 2 : 2 + 2 * axes : 2]
  terms = np.empty((*theta.shape[:-1], 1 + axes, len(x)))
  terms[..., 0, :] = theta[..., :1]
  terms[..., 1:, :] = level[..., None] - exponent[..., None] * x.T
  return terms


def fitted(theta: np.ndarray, data: Data) -> np.ndarray:
  """[..., runs] log loss by law and world."""
  return law(theta, data.x) + theta[..., data.shared :] @ data.own.T


def jacobian(theta: np.ndarray, data: Data) -> np.ndarray:
  """[..., runs, parameters], of `fitted`."""
  terms = _terms(theta, data.x)
  shares = np.exp(terms - np.logaddexp.reduce(terms, axis=-2)[..., None, :])
  columns = np.empty((*shares.shape[:-2], len(data.y), theta.shape[-1]))
  columns[..., 0] = shares[..., 0, :]
  columns[..., 1 : data.shared : 2] = shares[..., 1:, :].swapaxes(-1, -2)
  columns[..., 2 : data.shared : 2] = -shares[..., 1:, :].swapaxes(-1, -2) * data.x
  columns[..., data.shared :] = data.own
  return columns


def objective(theta: np.ndarray, data: Data, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(sums of Huber losses in units of threshold^2 [batch], gradients [batch, parameters]).

  Args:
    theta: [batch, parameters].
    weights: [batch, runs], or [runs].
  """
  terms = _terms(theta, data.x)
  top = terms.max(axis=1)
  parts = np.exp(terms - top[:, None])
  total = parts.sum(axis=1)
  own = data.own
  r = (top + np.log(total) + theta[:, data.shared :] @ own.T - data.y) / data.threshold
  clipped = np.clip(r, -1, 1)
  slope = weights * clipped / data.threshold
  shares = parts * (slope / total)[:, None]  # d objective / d log term
  gradient = np.empty_like(theta)
  gradient[:, 0] = shares[:, 0].sum(axis=1)
  gradient[:, 1 : data.shared : 2] = shares[:, 1:].sum(axis=2)
  gradient[:, 2 : data.shared : 2] = -np.einsum('bar,ra->ba', shares[:, 1:], data.x)
  gradient[:, data.shared :] = slope @ own
  return np.sum(weights * clipped * (r - clipped / 2), axis=1), gradient


def starts(data: Data, rests: Sequence[float], exponents: Sequence[float]) -> np.ndarray:
  """[starts, parameters]: shares of the loss that can't be reduced, times exponents of each axis,
  with every world at the level of its mean."""
  axes = data.x.shape[1]
  means = np.array([np.mean(data.y[data.world == w]) for w in range(data.worlds)])
  of_worlds = (means - means.mean())[:-1]
  found = []
  for rest, *powers in itertools.product(rests, *[exponents] * axes):
    level = np.log((1 - rest) / axes)
    found.append([np.log(rest), *itertools.chain(*((level, p) for p in powers)), *of_worlds])
  return np.array(found)


def fit(data: Data, begin: np.ndarray) -> np.ndarray:
  """The best search parameters from all starts [starts, parameters]."""
  found, values = _minimise(data, begin, np.ones(len(data.y)), np.std(data.y))
  return found[values.argmin()]


def reweighted(data: Data, best: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """[resamples, parameters] for each row of weights [resamples, runs], from the best ones on.

  Nothing is bounded: an exponent below 0 says that the loss may rise.
  """
  begin = np.broadcast_to(best, (len(weights), len(best)))
  return _minimise(data, begin, weights, np.std(data.y - fitted(best, data)))[0]


def _minimise(data: Data, begin: np.ndarray, weights: np.ndarray, spread: float):
  """(parameters, values) of a batch. The first steps are those of least squares, shortened to what
  residuals as wide as `spread` allow."""
  columns = jacobian(begin, data)
  square = columns.swapaxes(-1, -2) @ columns
  diagonal = np.einsum('...ii->...i', square)
  ridge = 1e-6 * diagonal + 1e-9 * diagonal.sum(axis=-1, keepdims=True)
  inverse = np.linalg.inv(square + ridge[..., None] * np.eye(begin.shape[1]))
  weights = np.broadcast_to(weights, (len(begin), len(data.y)))
  scale = data.threshold * max(float(spread), data.threshold)
  return minimise.bfgs(
    lambda theta, rows: objective(theta, data, weights[rows]), begin, scale * inverse
  )
