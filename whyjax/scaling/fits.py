"""Scaling laws of pretraining: held-out loss against parameters, and against parameters and tokens.

  L(N)   = E + A / N^a               at the budget that most sizes share
  L(N,D) = E + A / N^a + B / D^b     when at least three budgets are present

N counts non-embedding parameters, D training tokens, L is in nats a token. The fit is approach 3 of
Hoffmann et al. 2022 ("Training compute-optimal large language models"): Huber loss on the
logarithms, L-BFGS from many starts; with the corrections of Besiroglu et al. 2024 ("Chinchilla
scaling: a replication attempt"): the loss is a sum, not a mean, and is minimised to a tight
  tolerance. Intervals come from a bootstrap of
residuals, of worlds and of points apart, since all losses in one world share that world's
difficulty.
"""

from collections.abc import Iterable, Mapping, Sequence
import itertools

import numpy as np
from scipy import optimize, special

# Log residuals below HUBER count squared, larger ones by their size. Hoffmann's 1e-3 suits hundreds
# of runs; a grid of few cells needs every cell, so only losses further off than seeds usually are
# count less.
HUBER = 1e-2
CONFIDENCE = 0.95
RESAMPLES = 200
EXPONENTS = (0.005, 5.0)  # searched; an interval that reaches an end of this range is no interval
LEAST_TERM = 1e-4  # searched: the least share of a term in the loss at the centre of the grid
FEWEST_BUDGETS = 3
NAMES = ('E', 'A', 'a', 'B', 'b')


def fit_records(records: Iterable[Mapping]) -> list[dict]:
  """The 'fit' records of a study from its 'stage' and 'loss' records; none when no stage is of a
  grid.

  A stage of a grid is named pretrain/SIZE/UPDATES. A law that the points don't determine comes back
  with `parameters` null and the reason in `why`.
  """
  points = _points(list(records))
  if not points:
    return []
  budgets = {p['tokens'] for p in points}
  budget = max(
    budgets, key=lambda d: (len({p['parameters'] for p in points if p['tokens'] == d}), d)
  )
  fits = [_fit('E + A / N^a', [p for p in points if p['tokens'] == budget], ('parameters',))]
  if len(budgets) >= FEWEST_BUDGETS:
    fits.append(_fit('E + A / N^a + B / D^b', points, ('parameters', 'tokens')))
  return fits


def _points(records: Sequence[Mapping]) -> list[dict]:
  """One point for every held-out loss of a grid's stage: a cell of the grid in one world with one
  seed."""
  cells = {
    r['stage']: r
    for r in records
    if r['record'] == 'stage' and r['kind'] == 'pretrain' and r['stage'].count('/') == 2
  }
  return [
    {
      'size': r['stage'].split('/')[1],
      'parameters': cells[r['stage']]['parameters'],
      'tokens': cells[r['stage']]['tokens'],
      'world': r['world'],
      'seed': r['seed'],
      'loss': r['loss'],
    }
    for r in records
    if r['record'] == 'loss' and r['stage'] in cells
  ]


def _fit(law: str, points: Sequence[Mapping], axes: Sequence[str]) -> dict:
  """One 'fit' record: the law's parameters with bootstrap intervals, or the reason why there are
  none."""
  names = NAMES[: 1 + 2 * len(axes)]
  worlds = sorted({p['world'] for p in points})
  record = {
    'record': 'fit',
    'law': law,
    'points': list(points),
    'worlds': worlds,
    'confidence': CONFIDENCE,
    'parameters': None,
    'residual': None,
    'why': _too_few(points, axes, len(names)),
  }
  if record['why']:
    return record
  logs = np.log([[p[axis] for axis in axes] for p in points])
  losses = np.log([p['loss'] for p in points])
  # Centred: a term's level at the centre of the grid hardly depends on its exponent, its level at 1
  # does.
  centre, unit = logs.mean(0), np.median(losses)
  x, target = logs - centre, losses - unit
  best = _minimise(x, target, _starts(len(axes)))
  fitted = _log_loss(best, x)
  noise = _resampled_residuals(
    target - fitted, [worlds.index(p['world']) for p in points], len(names)
  )
  resampled = np.array([_minimise(x, fitted + e, [best]) for e in noise])
  tails = 100 * np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
  record['residual'] = float(np.sqrt(np.mean((target - fitted) ** 2)))
  record['why'] = _undetermined(np.percentile(resampled, tails, axis=0), axes)
  if not record['why']:
    values = _natural(best, centre, unit)
    low, high = np.percentile([_natural(t, centre, unit) for t in resampled], tails, axis=0)
    record['parameters'] = {
      name: {'value': float(v), 'low': float(l), 'high': float(h)}
      for name, v, l, h in zip(names, values, low, high, strict=True)
    }
  return record


def _too_few(points, axes, parameters: int) -> str:
  """Why so few points can't determine the law; '' when they can."""
  cells = {tuple(p[axis] for axis in axes) for p in points}
  if len(cells) <= parameters:
    return (
      f'{len(cells)} cells of the grid; a law of {parameters} parameters needs at least '
      f'{parameters + 1}'
    )
  for i, axis in enumerate(axes):
    if (values := len({cell[i] for cell in cells})) < 3:
      return f'{values} values of {axis}; an exponent needs at least 3'
  return ''


def _undetermined(interval, axes) -> str:
  """Why an interval (low and high rows of search parameters) is none: it ends where the search
  ends."""
  for i, axis in enumerate(axes):
    level, exponent = interval[:, 1 + 2 * i], interval[:, 2 + 2 * i]
    if np.exp(level[0]) < 2 * LEAST_TERM:
      return f'the loss does not clearly fall with {axis}: no interval for its exponent'
    if exponent[0] < 1.01 * EXPONENTS[0] or exponent[1] > 0.99 * EXPONENTS[1]:
      return (
        f'the points do not bound the exponent of {axis} within {EXPONENTS[0]} to {EXPONENTS[1]}'
      )
  return ''


def _log_loss(theta, x):
  """Log of the law at centred logs x [points, axes]; theta = log E, then log level and exponent by
  axis."""
  return np.logaddexp.reduce(_log_terms(theta, x), axis=0)


def _log_terms(theta, x):
  """Logs of the law's terms, [1 + axes, points]."""
  return np.concatenate([np.full((1, len(x)), theta[0]), (theta[1::2] - theta[2::2] * x).T])


def _objective(theta, x, target):
  """Sum of Huber losses of the log residuals, in units of HUBER**2, and its gradient."""
  logs = _log_terms(theta, x)
  fitted = np.logaddexp.reduce(logs, axis=0)
  r = (fitted - target) / HUBER
  slope = np.clip(r, -1, 1)
  shares = np.exp(logs - fitted) * slope / HUBER  # d objective / d log term
  gradient = np.empty_like(theta)
  gradient[0] = shares[0].sum()
  gradient[1::2] = shares[1:].sum(1)
  gradient[2::2] = -(shares[1:] * x.T).sum(1)
  return np.sum(slope * (r - slope / 2)), gradient


def _minimise(x, target, starts):
  """The best search parameters from all starts."""
  level = (np.log(LEAST_TERM), np.log(10))
  bounds = [level, *[level, EXPONENTS] * x.shape[1]]
  runs = [
    optimize.minimize(
      _objective,
      start,
      (x, target),
      'L-BFGS-B',
      jac=True,
      bounds=bounds,
      options={'ftol': 1e-13, 'gtol': 1e-9, 'maxiter': 200},
    )
    for start in starts
  ]
  return min(runs, key=lambda run: run.fun).x


def _starts(axes: int):
  """Starting points: shares of the loss that can't be reduced, times exponents of each axis."""
  grid = itertools.product((0.1, 0.5, 0.8, 0.95), *[(0.1, 0.3, 0.6, 1.2)] * axes)
  for rest, *exponents in grid:
    yield np.array(
      [np.log(rest), *itertools.chain(*((np.log((1 - rest) / axes), a) for a in exponents))]
    )


def _resampled_residuals(residuals, world_of, parameters: int):
  """RESAMPLES draws of residuals: an effect of each world plus the rest of each point, with
  replacement."""
  rng = np.random.default_rng(0)
  world_of = np.asarray(world_of)
  worlds, points = world_of.max() + 1, len(residuals)
  effects = np.array([residuals[world_of == w].mean() for w in range(worlds)]) - residuals.mean()
  rest = _widen(residuals - effects[world_of], points - parameters - worlds + 1)
  effects = _widen(effects, worlds - 1)
  for _ in range(RESAMPLES):
    yield rng.choice(effects, worlds)[world_of] + rng.choice(rest, points)


def _widen(residuals, freedom: int):
  """Residuals as wide as Student's t says the errors may be: few degrees of freedom make them too
  small."""
  if freedom < 1:  # one world: its effect can't be told from the level of the loss
    return residuals
  probability = (1 + CONFIDENCE) / 2
  student = special.stdtrit(freedom, probability) / special.ndtri(probability)
  return residuals * np.sqrt(len(residuals) / freedom) * student


def _natural(theta, centre, log_unit):
  """E, A, a (, B, b) from search parameters at the grid's centre, in units of the median loss."""
  natural = np.exp(theta)
  # A floor at the end of the search is none.
  natural[0] = 0.0 if natural[0] < 1.01 * LEAST_TERM else np.exp(theta[0] + log_unit)
  natural[1::2] = np.exp(theta[1::2] + theta[2::2] * centre + log_unit)
  natural[2::2] = theta[2::2]
  return natural
