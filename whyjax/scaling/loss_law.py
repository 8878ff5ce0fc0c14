"""Held-out loss against size and tokens: L(N, D) = E + A / N^a + B / D^b.

Approach 3 of Hoffmann et al. 2022 ("Training compute-optimal large language models", arXiv
2203.15556): Huber loss of log L by log-sum-exp, BFGS from a grid of starts. Corrected as
Besiroglu et al. 2024 ("Chinchilla scaling: a replication attempt", arXiv 2404.10102) ask: the
objective is a sum in units of the Huber threshold, so that the optimiser does not take its last
steps for no progress; tolerances are tight; gradients are exact; intervals come from a bootstrap.

Where several worlds are there, each has a level of its own, a factor on all its losses, fitted in
the same objective: a world's difficulty must not pass for noise of its runs. What the law's
parameters describe is the geometric mean over worlds.

The bootstrap. Every run (a world at a place of the grid, its seeds together) gets an exponential
weight and the law is fitted again: the fractional random weights of
Xu et al. 2020, the smooth form of drawing runs with replacement, which never loses an axis of a
small grid. To the levels E, A and B the uncertainty of the mean over worlds is added, Student's t
over worlds. Where worlds differ in slope, and not only in level (F test), whole worlds get the
weights instead. Intervals are stretched for how few worlds, or how few free residuals, they rest on
(Student's t), and where places of the grid scatter around the law by more than the runs at one
place, by that ratio.
"""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import itertools

import numpy as np

from whyjax.scaling import cells as tables
from whyjax.scaling import huber, misfit
from whyjax.scaling.cells import Cell
from whyjax.scaling.estimate import Finding, Refusal, few_worlds, number, of_samples
from whyjax.scaling.settings import Settings

AXES = ('parameters', 'tokens')
SIGNS = {'parameters': 'N', 'tokens': 'D', 'compute': 'compute'}
LETTERS = {'parameters': ('A', 'a'), 'tokens': ('B', 'b')}
FEWEST = 3  # values of an axis that an exponent needs
EXPONENTS = (0.005, 5.0)  # an interval that leaves this range is none
LEAST_TERM = 1e-4  # a share of the loss at the centre of the grid; a term of less is none


@dataclasses.dataclass(frozen=True)
class LossLaw:
  """A fitted law, and what is needed to predict by it.

  Attributes:
    formula: in words.
    findings: E, A, a, B, b and, of both axes, the exponent of the optimal N in compute.
    cells: what it was fitted to.
    residual: root mean square of log residuals, world levels taken out.
    fails: why the law does not describe its own cells; '' when it does.
    notes: what else a reader must know.
    fit: the numbers behind it; None where there is no law.
  """

  formula: str
  findings: dict[str, Finding]
  cells: tuple[Cell, ...]
  residual: float | None = None
  fails: str = ''
  notes: tuple[str, ...] = ()
  fit: 'Fit | None' = None


@dataclasses.dataclass(frozen=True)
class Fit:
  """Numbers behind a law.

  Attributes:
    axes: of the law, of AXES.
    centre: [axes], mean log of each.
    unit: log of the loss that levels are in units of.
    theta: [1 + 2 axes] log E, then log level and exponent by axis, at the centre.
    samples: [resamples, 1 + 2 axes], the same, resampled, worlds as they are.
    drift: [resamples], log level of the mean over worlds, resampled.
    residuals: [runs], log.
    wide: how much wider than they are noise has to be taken (`misfit.Checked`).
    levels: of each world, log; they sum to 0.
  """

  axes: tuple[str, ...]
  centre: np.ndarray
  unit: float
  theta: np.ndarray
  samples: np.ndarray
  drift: np.ndarray
  residuals: np.ndarray
  wide: float
  levels: Mapping[int, float]

  def log_loss(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(value [places], samples [resamples, places]) of log L at [places, axes] parameters, tokens;
    mean over the worlds of the fit."""
    x = np.log(places) - self.centre
    return huber.law(self.theta, x) + self.unit, huber.law(self.samples, x) + self.unit


def fit(cells: Sequence[Cell], settings: Settings, wanted: Collection[tuple] = ()) -> LossLaw:
  """The law of as many axes as the cells allow; what they don't allow is refused by name.

  Args:
    cells: pretrained models with a loss.
    wanted: (parameters, tokens, ...) that the law is to predict: where it can be of one value alone
      of an axis, of theirs if that can be.
  """
  values = {axis: sorted({getattr(c, axis) for c in cells}) for axis in AXES}
  axes = [axis for axis in AXES if len(values[axis]) >= FEWEST]
  refused: dict[str, Finding] = {}
  for axis in AXES:
    if axis not in axes:
      for letter in LETTERS[axis]:
        refused[letter] = Refusal(letter, _few(axis, values[axis]))
  while axes:
    chosen, held, apart = _usable(cells, axes, wanted)
    if why := too_few(chosen, axes):
      if len(axes) == 1 and not too_few(_linked(cells, axes)[0], axes):
        (other,) = (axis for axis in AXES if axis not in axes)
        why = f'no {SIGNS[other]} has the {FEWEST + 1} values of {SIGNS[axes[0]]} that a law needs'
      why = '; '.join([why, *apart])
      for letter in LETTERS[axes[-1]]:
        refused[letter] = Refusal(letter, why)
      axes = axes[:-1]  # the law of N alone asks for less
    else:
      law = fit_axes(chosen, tuple(axes), settings)
      return dataclasses.replace(
        law, findings=law.findings | refused, notes=(*law.notes, *held, *apart)
      )
  why = '; '.join(dict.fromkeys(r.why for r in refused.values()))
  return LossLaw('none', {'E': Refusal('E', why)} | refused, tuple(cells))


def _few(axis: str, values: Sequence[int]) -> str:
  if not values:
    return 'no cell has a loss'
  if len(values) == 1:
    return f'only one value of {SIGNS[axis]} ({number(values[0], 7)})'
  shown = ', '.join(number(v, 7) for v in values)
  return f'{len(values)} values of {SIGNS[axis]} ({shown}); an exponent needs at least {FEWEST}'


def _linked(cells: Sequence[Cell], axes: Sequence[str]) -> tuple[list[Cell], list[str]]:
  """The cells of the worlds that shared places link, and a note on the rest: by nothing can levels
  of those be told from the law. Of several such chains one that has a law of these axes if there
  is, and then that of most places."""
  chains = tables.chains(cells, lambda c: c.place)
  own = [[c for c in cells if c.world in worlds] for worlds in chains]
  if len(own) < 2:
    return list(cells), []

  def use(some):
    return not too_few(some, axes), len({c.place for c in some}), len(some)

  kept = max(own, key=use)
  apart = tables.named({c.world for c in cells} - {c.world for c in kept})
  return kept, [f'{apart}: no place of the grid is shared with the other worlds; left out']


def _usable(
  cells: Sequence[Cell], axes: Sequence[str], wanted: Collection[tuple]
) -> tuple[list[Cell], list[str], list[str]]:
  """(the cells that a law of these axes is fitted to, notes on what is held fixed, notes on what is
  left out)."""
  if len(axes) == 2:
    chosen, apart = _linked(cells, axes)
    return chosen, [], apart
  (other,) = (axis for axis in AXES if axis not in axes)
  by_value = tables.groups(cells, lambda c: getattr(c, other))
  linked = {value: _linked(own, axes) for value, own in by_value.items()}
  asked = {place[AXES.index(other)] for place in wanted}

  def use(value):
    own = linked[value][0]
    asked_for = value in asked and not too_few(own, axes)
    return asked_for, len({c.place for c in own}), len({c.world for c in own}), value

  value = max(linked, key=use)
  level, exponent = LETTERS[other]
  held = f'{SIGNS[other]} = {number(value, 7)}'
  own, apart = linked[value]
  return own, [f'at {held} alone: E holds {level} / {SIGNS[other]}^{exponent}'], apart


def too_few(cells: Sequence[Cell], axes: Sequence[str]) -> str:
  """Why so few cells can't determine a law of these axes; '' when they can."""
  places = {tuple(getattr(c, axis) for axis in axes) for c in cells}
  for i, axis in enumerate(axes):
    values = sorted({p[i] for p in places})
    if len(values) < FEWEST:
      return _few(axis, values)
  needed = 2 + 2 * len(axes)
  if len(places) < needed:
    return f'{len(places)} cells of the grid; a law of {needed - 1} parameters needs {needed}'
  return ''


def fit_axes(cells: Sequence[Cell], axes: tuple[str, ...], settings: Settings) -> LossLaw:
  """The law of exactly these axes; `too_few` must have found nothing."""
  formula = ' + '.join(['E', *(f'{"AB"[i]} / {"ND"[i]}^{"ab"[i]}' for i in map(AXES.index, axes))])
  names = ['E', *itertools.chain(*(LETTERS[axis] for axis in axes))]
  runs = tables.runs(cells)
  losses = np.log([c.loss for c in runs])
  logs = np.log([[getattr(c, axis) for axis in axes] for c in runs])
  centre, unit = logs.mean(axis=0), float(np.median(losses))
  worlds = sorted({c.world for c in runs})
  of_run = np.array([worlds.index(c.world) for c in runs])
  data = huber.Data(logs - centre, losses - unit, of_run, len(worlds), settings.huber)
  best = huber.fit(data, huber.starts(data, settings.rests, settings.exponents))
  checked = misfit.check(data, best, [c.place for c in runs], settings)
  found = Fit(
    axes,
    centre,
    unit,
    best[: data.shared],
    *_resample(data, best, checked, settings),
    checked.residuals,
    checked.wide,
    dict(zip(worlds, huber.levels(best, data).tolist(), strict=True)),
  )
  findings = _findings(found, names, checked.by_world, settings)
  notes = checked.notes
  if len(worlds) == 1:
    notes += (f'one world ({worlds[0]}): intervals are over its runs, not over worlds',)
  if isinstance(findings[names[1]], Refusal):  # E alone may be refused: the law then has none
    found = None
  residual = float(np.sqrt(np.mean(checked.residuals**2)))
  return LossLaw(formula, findings, tuple(cells), residual, checked.fails, notes, found)


def _resample(data, best, checked: misfit.Checked, settings: Settings):
  """(samples, drift) of a Fit: weighted fits, stretched, and the level of the mean over worlds."""
  rng = np.random.default_rng(settings.seed)
  units, stretch = np.arange(len(data.y)), checked.wide
  if checked.by_world:
    units, count = data.world, data.worlds
    stretch = max(stretch, few_worlds(count, settings.confidence))
  weights = rng.exponential(size=(settings.resamples, units.max() + 1))[:, units]
  found = huber.reweighted(data, best, weights)
  samples = (best + stretch * (found - best))[:, : data.shared]
  drift = np.zeros(settings.resamples)
  if data.worlds > 1:
    error = huber.levels(best, data).std(ddof=1) / np.sqrt(data.worlds)
    drift = error * rng.standard_t(data.worlds - 1, settings.resamples)
  return samples, drift


def _findings(
  found: Fit, names: Sequence[str], by_world: bool, settings: Settings
) -> dict[str, Finding]:
  """An Estimate for every parameter, or for every one the reason why there is no law."""
  tails = [(1 - settings.confidence) / 2, (1 + settings.confidence) / 2]
  ends = np.quantile(found.samples, tails, axis=0)
  ends = np.array([np.minimum(ends[0], found.theta), np.maximum(ends[1], found.theta)])
  if why := _undetermined(ends, found, by_world):
    optimum = ['N_opt'] * (len(found.axes) == 2)
    return {name: Refusal(name, why) for name in (*names, *optimum)}
  value = _natural(found.theta[None], np.zeros(1), found)[0]
  samples = _natural(found.samples, found.drift, found)
  estimates: dict[str, Finding] = {
    name: of_samples(v, s, settings.confidence)
    for name, v, s in zip(names, value, samples.T, strict=True)
  }
  if len(found.axes) == 2:
    estimates['N_opt'] = of_samples(
      optimal_exponent(value), optimal_exponent(samples.T), settings.confidence
    )
  if estimates['E'].high == 0:  # [0, 0] would pass for certainty
    share = np.mean(samples[:, 0] == 0)
    slow = 'a slow fall' if len(found.axes) == 1 else 'a slow fall of the other terms'
    estimates['E'] = Refusal(
      'E', f'0 in {share:.0%} of resamples: over these cells a floor is not told from {slow}'
    )
  return estimates


def optimal_exponent(natural: np.ndarray) -> np.ndarray:
  """Of the optimal N in compute, b / (a + b); [5, ...] E, A, a, B, b."""
  return natural[4] / (natural[2] + natural[4])


def _undetermined(ends: np.ndarray, found: Fit, by_world: bool) -> str:
  """Why there is no law; '' if there is.

  Args:
    ends: [2, 1 + 2 axes], low and high of theta.
    by_world: intervals are over whole worlds.
  """
  for i, axis in enumerate(found.axes):
    level, exponent, sign = ends[:, 1 + 2 * i], ends[:, 2 + 2 * i], SIGNS[axis]
    if np.exp(level[0]) < 2 * LEAST_TERM or exponent[0] <= 0:
      why = f'the loss does not clearly fall with {sign}'
      if by_world:
        count = len(found.levels)
        why = f'{count} worlds are too few for how much they differ in their fall with {sign}'
      return f'{why}: no interval for its exponent'
    if exponent[0] < 1.01 * EXPONENTS[0] or exponent[1] > 0.99 * EXPONENTS[1]:
      low, high = EXPONENTS
      return f'the cells do not bound the exponent of {sign} within {low:g} to {high:g}'
  return ''


def _natural(theta: np.ndarray, drift: np.ndarray, found: Fit) -> np.ndarray:
  """[samples, 1 + 2 axes] E, A, a, B, b of search parameters; a floor too small to tell is 0."""
  natural = np.exp(theta)
  scale = np.exp(drift + found.unit)[:, None]
  natural[:, 0] = np.where(natural[:, 0] < 1.01 * LEAST_TERM, 0.0, natural[:, 0])
  natural[:, 1::2] = np.exp(theta[:, 1::2] + theta[:, 2::2] * found.centre)
  natural[:, 0::2] = np.column_stack([natural[:, :1], theta[:, 2::2]])
  natural[:, :1] *= scale
  natural[:, 1::2] *= scale
  return natural
