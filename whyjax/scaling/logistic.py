"""Falling logistic curves with floor and ceiling, fitted to many resamples at once.

rate(x) = floor + (ceiling - floor) / (1 + exp(steepness (x - midpoint))), x = log tokens; no tokens
at all, x = -inf, is the ceiling. What is maximised is the binomial quasi-likelihood.
"""

import numpy as np

STEEPNESS = (0.2, 20.0)  # searched, per factor e of tokens; where doses are close, to more
RETRIED = (0.7, 1.5, 4.0, 12.0)  # steepnesses that resampled fits begin at, besides the best
ALIKE = 0.1  # half the deviance by which fits differ that are as good
OFF_SLOPE = 0.02  # a dose where so little of the fall is done, or left, does not say where it lies
BESIDE = 0.02  # a share of the way from a dose to the next
_EDGE = 1e-6  # rates that the likelihood sees keep so far from 0 and 1
_STEPS = 100


def curve(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
  """[..., points] rates at x [points], of theta [..., 4]: floor, ceiling, midpoint, log
  steepness."""
  floor, ceiling, midpoint, log_steep = (theta[..., i, None] for i in range(4))
  return floor + (ceiling - floor) * _share(midpoint, log_steep, x)


def _share(midpoint, log_steep, x):
  """Share of the fall that is not done at x."""
  z = np.exp(log_steep) * (x - midpoint)
  return 0.5 * (1 - np.tanh(z / 2))  # stable, and 1 at -inf


def tokens_at(theta: np.ndarray, rate: np.ndarray) -> np.ndarray:
  """x [...] at which curves theta [..., 4] come to a rate [...]: -inf where they begin below it,
  +inf where they never do."""
  floor, ceiling, midpoint, log_steep = np.moveaxis(theta, -1, 0)
  with np.errstate(divide='ignore', invalid='ignore'):
    odds = (ceiling - rate) / (rate - floor)
    x = midpoint + np.log(odds) / np.exp(log_steep)
  return np.where(rate >= ceiling, -np.inf, np.where(rate <= floor, np.inf, x))


def steepness(x: np.ndarray) -> tuple[float, float]:
  """The least and the most that is searched where doses are x: so steep that a fall may lie between
  those two that are nearest, off the slope of both, and not in the very middle alone."""
  gaps = np.diff(np.unique(x[np.isfinite(x)]))
  steepest = 3 * np.log(1 / OFF_SLOPE - 1) / gaps.min(initial=np.inf)
  return STEEPNESS[0], max(STEEPNESS[1], steepest)


def fit(
  x: np.ndarray, rates: np.ndarray, weights: np.ndarray, start: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
  """(theta [batch, 4], loss [batch]) that fit rates [batch, points] best, from starts [batch, 4].

  Fisher scoring, damped as Levenberg and Marquardt do, each fit of the batch by itself, within
  bounds: rates from 0 to 1, the midpoint within `reach` times the smallest and largest dose.
  """
  doses = x[np.isfinite(x)]
  margin = np.log(reach)
  flattest, steepest = np.log(steepness(x))
  low = np.array([0, 0, doses.min() - margin, flattest])
  high = np.array([1, 1, doses.max() + margin, steepest])
  theta = np.clip(start, low, high)
  loss = _loss(theta, x, rates, weights)
  damping = np.full(len(theta), 1e-2)
  rows = np.arange(len(theta))
  for _ in range(_STEPS):
    step = _step(theta[rows], x, rates[rows], weights[rows], damping[rows], low, high)
    tried = np.clip(theta[rows] + step, low, high)
    new = _loss(tried, x, rates[rows], weights[rows])
    gain = loss[rows] - new
    better = gain > 0
    theta[rows] = np.where(better[:, None], tried, theta[rows])
    loss[rows] = np.where(better, new, loss[rows])
    damping[rows] = np.clip(np.where(better, damping[rows] / 5, damping[rows] * 4), 1e-7, None)
    rows = rows[np.where(better, gain > 1e-8 * (1 + new), damping[rows] < 1e5)]
    if not len(rows):
      break
  return theta, loss


def _step(theta, x, rates, weights, damping, low, high):
  """[batch, 4], of damped Fisher scoring."""
  gradient, square = _slope(theta, x, rates, weights)
  # At a bound, and pulled beyond it: that parameter stays where it is.
  stuck = ((theta <= low) & (gradient < 0)) | ((theta >= high) & (gradient > 0))
  free = ~stuck[:, :, None] & ~stuck[:, None, :]
  diagonal = np.einsum('bii->bi', square)
  ridge = damping[:, None] * (diagonal + 1e-6) + stuck + 1e-9
  system = np.where(free, square, 0) + ridge[..., None] * np.eye(4)
  return np.linalg.solve(system, np.where(stuck, 0, gradient)[..., None])[..., 0]


def refit(
  x: np.ndarray,
  rates: np.ndarray,
  weights: np.ndarray,
  best: np.ndarray,
  reach: float,
  rng: np.random.Generator,
) -> np.ndarray:
  """[batch, 4], fits of resampled rates [batch, points], begun at the best of all and beside it.

  With few doses on the slope a flat curve with a low floor fits as well as a steep one with a high
  floor, and a fit stays with that from which it began. So each begins at several steepnesses, and
  of those that come out as good, by `ALIKE`, one is taken by chance.
  """
  begin = np.repeat(best[None], 1 + len(RETRIED), axis=0)
  begin[1:, 3] = np.log(RETRIED)
  found, losses = zip(
    *(fit(x, rates, weights, np.broadcast_to(b, (len(rates), 4)), reach) for b in begin),
    strict=True,
  )
  losses = np.array(losses)
  good = losses <= losses.min(axis=0) + ALIKE
  chosen = np.argmax(good * rng.random(good.shape), axis=0)
  return np.array(found)[chosen, np.arange(len(rates))]


def spread_steps(
  theta: np.ndarray,
  x: np.ndarray,
  reach: float,
  best: np.ndarray,
  stretch: np.ndarray,
  rng: np.random.Generator,
) -> None:
  """Where a curve of theta [batch, 4] falls between two doses and no dose lies on its slope, every
  midpoint between them fits as well, and the fit stops at any: such rows are put beside the one
  dose or the other, by chance, and made as steep as that takes.

  Args:
    best: [4], and
    stretch: [batch], by which distances from it will grow.
  """
  doses = np.unique(x[np.isfinite(x)])
  share = _share(theta[:, 2, None], theta[:, 3, None], doses)
  step = ((share <= OFF_SLOPE) | (share >= 1 - OFF_SLOPE)).all(axis=1)
  edges = np.array([doses[0] - np.log(reach), *doses, doses[-1] + np.log(reach)])
  after = np.searchsorted(doses, theta[:, 2])
  near = BESIDE * (edges[after + 1] - edges[after])
  ends = np.where(rng.random(len(theta)) < 0.5, edges[after] + near, edges[after + 1] - near)
  steep = np.maximum(steepness(x)[1], np.log(1 / OFF_SLOPE - 1) / near)
  theta[step, 2] = (best[2] + (ends - best[2]) / stretch)[step]
  theta[step, 3] = np.log(steep)[step]


def starts(x: np.ndarray, rates: np.ndarray) -> np.ndarray:
  """[starts, 4]: midpoints over the doses, by steepness, between the least and greatest rate."""
  doses = np.sort(x[np.isfinite(x)])
  ends = rates.min(), rates.max()
  return np.array(
    [
      (*ends, midpoint, np.log(steep))
      for midpoint in np.quantile(doses, [0, 0.25, 0.5, 0.75, 1])
      for steep in (0.5, 1.0, 2.0, 4.0)
    ]
  )


def _loss(theta, x, rates, weights):
  """Half the deviance."""
  p = np.clip(curve(theta, x), _EDGE, 1 - _EDGE)
  r = np.clip(rates, _EDGE, 1 - _EDGE)
  return np.sum(weights * (r * np.log(r / p) + (1 - r) * np.log((1 - r) / (1 - p))), axis=-1)


def jacobian(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
  """[..., points, 4], of `curve`."""
  floor, ceiling, midpoint, log_steep = (theta[..., i, None] for i in range(4))
  share = _share(midpoint, log_steep, x)
  inner = (ceiling - floor) * share * (1 - share)
  steep = np.exp(log_steep)
  away = np.where(np.isfinite(x), x - midpoint, 0)
  return np.stack([1 - share, share, inner * steep, -inner * steep * away], axis=-1)


def _slope(theta, x, rates, weights):
  """(uphill gradient of the quasi-likelihood [..., 4], Fisher information [..., 4, 4])."""
  p = np.clip(curve(theta, x), _EDGE, 1 - _EDGE)
  columns = jacobian(theta, x)
  # Near 0 and 1 an information that explodes would stop every step.
  precision = weights / np.maximum(p * (1 - p), 1e-3)
  gradient = np.einsum('...p,...pi->...i', weights * (rates - p) / (p * (1 - p)), columns)
  square = np.einsum('...p,...pi,...pj->...ij', precision, columns, columns)
  return gradient, square
