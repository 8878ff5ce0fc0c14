"""The best size for a compute, and how it grows: N_opt ~ C^g.

Approach 2 of Hoffmann et al. 2022 (arXiv 2203.15556): at each level of compute a parabola of log
loss in log N, its minimum, and a line through the minima in logs. It knows nothing of the form of
L(N, D), and so checks approach 3.

Cells of one level rarely have the same compute to the digit. Each loss is carried to the level's
compute along the line, in logs, to the next budget of the same size and world; where a size has one
budget only, it is taken as it is. Levels of worlds are taken out in the same least
squares.

A parabola only approximates the curve, and where sizes lie far from its minimum, that is off: with
sizes over a factor of 100 the 95% intervals of parabolas held the true N_opt in 25% to 90% of
simulated grids, and with four sizes over a factor of 30 in 48% to 86%, less the more worlds there
were; those of cubics in 95%. So levels get a cubic term. Noise is then told by other worlds, or by
a fifth size; where neither is there, four sizes within a factor of 10 are fitted by a parabola, and
others by nothing. And as a cubic through four sizes leaves nothing to test it by, an interval there
holds that of the parabola as well: where the losses follow neither, the two disagree.

Intervals: residuals of all levels together are drawn with replacement, as wide as Student's t says
for what is left free, wider where places of the grid scatter around the curves by more than runs at
one place do. A level is refused unless its minimum lies among the sizes tried, in the resamples
too.
"""

from collections.abc import Sequence
import dataclasses
import itertools

import numpy as np

from whyjax.scaling import cells as tables
from whyjax.scaling import misfit
from whyjax.scaling.cells import Cell
from whyjax.scaling.estimate import Estimate, Finding, Refusal, number, of_samples, widening
from whyjax.scaling.settings import Settings

SIZES = 4  # of a level: a parabola through three leaves nothing free
NARROW = 10.0  # so many sizes within this factor may do without a cubic
LEVELS = 3  # that an exponent needs
BAND = 40  # sizes at which the band of a curve is told
EXPONENT = 'exponent of N_opt (isoFLOP)'


@dataclasses.dataclass(frozen=True)
class Level:
  """One level of compute.

  Attributes:
    compute: the geometric mean of its cells.
    best: N at the minimum.
    sizes: ascending.
    losses: [sizes], at `compute`, geometric mean over worlds, their levels taken out.
    curve: log loss = curve[0] + curve[1] x + curve[2] x^2 (+ curve[3] x^3) with x = log N - centre;
      empty where the level was not fitted.
    centre: mean log N.
    band: (N, low, high) of the loss that the curve has, over the sizes.
  """

  compute: float
  best: Finding
  sizes: tuple[int, ...]
  losses: tuple[float, ...]
  curve: tuple[float, ...] = ()
  centre: float = 0.0
  band: tuple[tuple[float, float, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class IsoFlop:
  """All levels with more than one size, g of N_opt ~ C^g, and what else a reader must know."""

  levels: tuple[Level, ...]
  exponent: Finding
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Curves:
  """Least squares of all levels at once, with parabolas or cubics.

  Attributes:
    runs, level: the cells, and which level each is of.
    y: [runs] log loss at the compute of its level.
    centres: [levels].
    design: [runs, terms of all levels + worlds - 1].
    of_level, of_worlds: its columns.
    coefficients: of its columns.
  """

  runs: Sequence[Cell]
  level: np.ndarray
  y: np.ndarray
  centres: np.ndarray
  design: np.ndarray
  of_level: Sequence[slice]
  of_worlds: slice
  coefficients: np.ndarray


def fit(cells: Sequence[Cell], settings: Settings) -> IsoFlop:
  """The best size at each level of compute.

  Args:
    cells: pretrained models with a loss.
  """
  cells, notes = tables.runs(cells), []
  groups, usable = _groups(cells, settings)
  alone = len(tables.levels(cells, settings.same_compute)) - len(groups)
  while apart := _apart(usable):
    for at, out in apart.items():
      worlds = tables.named({c.world for c in out})
      notes.append(f'{worlds} at {at}: no size is shared with the others; left out')
    gone = {c for out in apart.values() for c in out}
    cells = [c for c in cells if c not in gone]
    groups, usable = _groups(cells, settings)
  if alone:
    notes.append(f'{alone} level{" has" if alone == 1 else "s have"} one size alone')
  return dataclasses.replace(_fit(cells, groups, usable, settings), notes=tuple(notes))


def _groups(cells: Sequence[Cell], settings: Settings) -> tuple[list, list]:
  """(levels of several sizes, those of them that have enough)."""
  groups = [g for g in tables.levels(cells, settings.same_compute) if len(_sizes(g)) > 1]
  return groups, [g for g in groups if len(_sizes(g)) >= SIZES]


def _apart(groups: Sequence[Sequence[Cell]]) -> dict[str, list[Cell]]:
  """By level, cells of worlds that no size of any level links to the rest there: by nothing can
  their own levels be told from what size does."""
  level = {c: i for i, group in enumerate(groups) for c in group}
  chains = tables.chains(level, lambda c: (level[c], c.parameters))
  found = {}
  for group in groups:
    own = [[c for c in group if c.world in worlds] for worlds in chains]
    kept = max(own, key=lambda some: (len(_sizes(some)), len(some)))
    if len(kept) < len(group):
      found[_title(group)] = [c for c in group if c not in kept]
  return found


def _fit(cells: Sequence[Cell], groups, usable, settings: Settings) -> IsoFlop:
  """Of runs, and their levels as `_groups` says."""
  levels = [_bare(g, _few(g)) for g in groups if g not in usable]
  if not usable:
    why = f'no level of compute (within {settings.same_compute:g} times) has {SIZES} sizes'
    return IsoFlop(tuple(levels), Refusal(EXPONENT, why if cells else 'no cell has a loss'))
  every, wide = [True] * len(usable), [not _narrow(_sizes(g)) for g in usable]
  parabolas = [len(_sizes(g)) > SIZES for g in usable]
  cubics = _minima(usable, every, cells, settings) or _minima(usable, wide, cells, settings)
  if not cubics:
    why = 'nothing is left free to tell noise by; a fifth size or another world is needed'
    levels += [_bare(g, why) for g in usable]
    return IsoFlop(_ascending(levels), Refusal(EXPONENT, why))
  answers = [cubics, _minima(usable, parabolas, cells, settings)]
  best = [_both([level.best for level, _ in own]) for own in zip(*answers, strict=True)]
  stands = [isinstance(b, Estimate) for b in best]
  exponents = [_exponent(list(itertools.compress(own, stands)), settings) for own in answers]
  levels += [dataclasses.replace(level, best=b) for (level, _), b in zip(cubics, best, strict=True)]
  return IsoFlop(_ascending(levels), _both(exponents))


def _minima(
  groups: Sequence[Sequence[Cell]], cubic: Sequence[bool], cells, settings: Settings
) -> list[tuple[Level, np.ndarray]]:
  """Each level, with log N of its minimum in each resample; none where nothing is left free."""
  found = _curves(groups, cubic, cells, settings.same_compute)
  samples = _resample(found, settings)
  if samples is None:
    return []
  return [_level(found, samples, i, group, settings) for i, group in enumerate(groups)]


def _both(findings: Sequence[Finding]) -> Finding:
  """What a cubic and a parabola say together: the value of the first, and all of both intervals; a
  refusal of either."""
  for finding in findings:
    if isinstance(finding, Refusal):
      return finding
  lows, highs = zip(*((f.low, f.high) for f in findings), strict=True)
  return Estimate(findings[0].value, min(lows), max(highs))


def _ascending(levels: Sequence[Level]) -> tuple[Level, ...]:
  return tuple(sorted(levels, key=lambda level: level.compute))


def _sizes(group: Sequence[Cell]) -> list[int]:
  return sorted({c.parameters for c in group})


def _narrow(sizes: Sequence[int]) -> bool:
  return len(sizes) == SIZES and sizes[-1] <= NARROW * sizes[0]


def _few(group: Sequence[Cell]) -> str:
  sizes = _sizes(group)
  shown = ', '.join(map(number, sizes))
  return f'{len(sizes)} sizes (N = {shown}); a parabola with an interval needs {SIZES}'


def _compute(group: Sequence[Cell]) -> float:
  return float(np.exp(np.mean(np.log([c.compute for c in group]))))


def _title(group: Sequence[Cell]) -> str:
  return f'N_opt at {_compute(group):.3g} FLOPs'


def _bare(group: Sequence[Cell], why: str) -> Level:
  """A level that is not fitted."""
  by_size = tables.groups(group, lambda c: c.parameters)
  losses = [float(np.exp(np.mean(np.log([c.loss for c in same])))) for same in by_size.values()]
  return Level(_compute(group), Refusal(_title(group), why), tuple(by_size), tuple(losses))


def _curves(
  groups: Sequence[Sequence[Cell]], cubic: Sequence[bool], cells: Sequence[Cell], factor: float
) -> _Curves:
  runs = [c for group in groups for c in group]
  level = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
  computes = np.array([_compute(g) for g in groups])[level]
  y = np.array([_carried(c, to, cells, factor) for c, to in zip(runs, computes, strict=True)])
  centres = np.array([np.mean(np.log(_sizes(g))) for g in groups])
  x = np.log([c.parameters for c in runs]) - centres[level]
  worlds = sorted({c.world for c in runs})
  own = np.eye(len(worlds))[[worlds.index(c.world) for c in runs]]

  terms = [3 + more for more in cubic]
  ends = np.cumsum([0, *terms])
  of_level = [slice(*pair) for pair in itertools.pairwise(ends)]
  curves = np.zeros((len(runs), ends[-1]))
  for i, columns in enumerate(of_level):
    curves[level == i, columns] = x[level == i, None] ** np.arange(terms[i])
  design = np.column_stack([curves, own[:, :-1] - own[:, -1:]])
  of_worlds = slice(ends[-1], None)
  return _Curves(
    runs, level, y, centres, design, of_level, of_worlds, np.linalg.lstsq(design, y)[0]
  )


def _carried(cell: Cell, compute: float, cells: Sequence[Cell], factor: float) -> float:
  """Log loss of a cell at another compute nearby, towards the next budget of its size and world
  that is further away than `factor`: the noise of one as near as the cell would be magnified."""
  same = [c for c in cells if (c.parameters, c.world) == (cell.parameters, cell.world)]
  away = {c.compute: abs(np.log(c.compute / cell.compute)) for c in same}
  others = [c for c, far in away.items() if far > np.log(factor)]
  if not others:
    return float(np.log(cell.loss))
  other = min(others, key=away.get)
  own, next_ = (
    np.mean([np.log(c.loss) for c in same if c.compute == at]) for at in (cell.compute, other)
  )
  slope = (next_ - own) / np.log(other / cell.compute)
  return float(np.log(cell.loss) + slope * np.log(compute / cell.compute))


def _resample(found: _Curves, settings: Settings) -> np.ndarray | None:
  """[resamples, columns] coefficients of redrawn residuals; None where nothing is left free."""
  r = found.y - found.design @ found.coefficients
  freedom = len(r) - np.linalg.matrix_rank(found.design)
  if freedom < 1:
    return None
  places = [(i, c.parameters) for i, c in zip(found.level.tolist(), found.runs, strict=True)]
  codes = np.unique(places, axis=0, return_inverse=True)[1].ravel()
  by_place = np.eye(codes.max() + 1)[codes]
  worlds = found.design[:, found.of_worlds]
  excess = misfit.f_test(r, found.design, np.column_stack([by_place, worlds])).excess
  wide = excess * widening(len(r), freedom, settings.confidence)
  rng = np.random.default_rng(settings.seed)
  drawn = rng.choice(wide * r, (settings.resamples, len(r)))
  return found.coefficients + drawn @ np.linalg.pinv(found.design).T


def _level(
  found: _Curves, samples: np.ndarray, i: int, group: Sequence[Cell], settings: Settings
) -> tuple[Level, np.ndarray]:
  """A level, and log N of its minimum in each resample: NaN where it is not among the sizes."""
  own = found.of_level[i]
  sizes, centre = _sizes(group), found.centres[i]
  ends = np.log([sizes[0], sizes[-1]])
  best, stands = _minimum(found.coefficients[None, own], ends, centre)
  drawn, inside = _minimum(samples[:, own], ends, centre)
  levelled = found.y - found.design[:, found.of_worlds] @ found.coefficients[found.of_worlds]
  at = [(found.level == i) & (np.array([c.parameters for c in found.runs]) == n) for n in sizes]
  losses = tuple(float(np.exp(levelled[mask].mean())) for mask in at)
  curve = tuple(found.coefficients[own].tolist())
  outside = 1 - inside.mean()
  why = ''
  tried = f'the sizes tried (N = {number(sizes[0])} to {number(sizes[-1])})'
  if not stands[0]:
    lowest = int(np.argmin(losses))
    at_end = {
      0: f'the minimum lies below {tried}',
      len(sizes) - 1: f'the minimum lies beyond {tried}',
    }
    why = at_end.get(lowest, f'the losses have no minimum over {tried}')
  elif outside > 1 - settings.confidence:
    why = f'in {outside:.0%} of resamples the minimum does not lie among {tried}'
  if why:
    finding: Finding = Refusal(_title(group), why)
  else:
    finding = of_samples(np.exp(best[0]), np.exp(drawn[inside]), settings.confidence)
  band = _band(samples[:, own], ends, centre, settings.confidence)
  return (
    Level(_compute(group), finding, tuple(sizes), losses, curve, float(centre), band),
    np.where(inside, drawn, np.nan),
  )


def _band(samples: np.ndarray, ends: np.ndarray, centre: float, confidence: float):
  """As `Level.band`, of curves [resamples, terms]."""
  x = np.linspace(*ends, BAND)
  values = samples @ ((x - centre)[:, None] ** np.arange(samples.shape[1])).T
  tails = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
  return tuple(zip(*np.exp([x, *tails]).tolist(), strict=True))


def _minimum(
  coefficients: np.ndarray, ends: np.ndarray, centre: float
) -> tuple[np.ndarray, np.ndarray]:
  """(log N at the minimum, whether it lies between the ends and below both) of curves [curves, 3 or
  4]; a cubic may fall again."""
  _, first, second, *third = coefficients.T
  inner = second**2 - 3 * first * (third[0] if third else 0.0)
  below = second + np.sqrt(np.maximum(inner, 0.0))
  curved = (inner > 0) & (below > 1e-12)
  minima = centre - first / np.where(curved, below, 1.0)
  between = curved & (minima >= ends[0]) & (minima <= ends[1])
  places = np.stack(
    [np.where(between, minima, ends[0]), *np.broadcast_to(ends[:, None], (2, len(minima)))]
  )
  powers = (places - centre)[..., None] ** np.arange(coefficients.shape[1])
  lowest, low, high = (powers * coefficients).sum(axis=-1)
  return minima, between & (lowest <= np.minimum(low, high))


def _exponent(standing: Sequence[tuple[Level, np.ndarray]], settings: Settings) -> Finding:
  """g from the levels that stand; nearer ones count more, by the variance of their minimum."""
  if len(standing) < LEVELS:
    return Refusal(
      EXPONENT,
      f'{len(standing)} of the {LEVELS} levels of compute that a slope needs have a minimum',
    )
  x = np.log([l.compute for l, _ in standing])
  best = np.log([l.best.value for l, _ in standing])
  drawn = np.array([d for _, d in standing])
  weight = 1 / np.maximum(np.nanvar(drawn, axis=1), 1e-12)
  value = _slope(x, best[:, None], weight)[0]
  slopes = _slope(x, drawn, weight)
  return of_samples(value, slopes[np.isfinite(slopes)], settings.confidence)


def _slope(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Weighted least-squares slopes of y [points, samples] in x, each through its finite points; NaN
  through less than two."""
  w = weight[:, None] * np.isfinite(y)
  y = np.nan_to_num(y)
  total = w.sum(axis=0)
  with np.errstate(invalid='ignore', divide='ignore'):
    x_mean, y_mean = (w * x[:, None]).sum(axis=0) / total, (w * y).sum(axis=0) / total
    away = x[:, None] - x_mean
    slope = (w * away * (y - y_mean)).sum(axis=0) / (w * away**2).sum(axis=0)
  return np.where((w > 0).sum(axis=0) > 1, slope, np.nan)
