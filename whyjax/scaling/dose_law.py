"""Misaligned share against alignment tokens A, arm by arm: a logistic in log A with floor and
ceiling.

  rate(A) = floor + (ceiling - floor) / (1 + (A / midpoint)^steepness)

No alignment tokens at all are a dose like others: the ceiling. What is fitted is the mean over
worlds. The likelihood is binomial, with the items of each cell deflated for the correlation of
items within a world (`bootstrap.effective_items`): least squares would count a world near the floor
or the ceiling, where worlds agree, no more than one on the slope, where they do not; a plain
binomial would count a hundred items of one world as a hundred worlds. Intervals do not lean on that
variance: they come from resampled worlds, seeds and items.
"""

from collections.abc import Sequence
import dataclasses
from zlib import crc32

import numpy as np

from whyjax.scaling import bootstrap, complete, logistic, misfit
from whyjax.scaling.bootstrap import Draws
from whyjax.scaling.cells import Cell
from whyjax.scaling.estimate import Estimate, Finding, Refusal, number, say
from whyjax.scaling.settings import Settings

NAMES = ('floor', 'ceiling', 'midpoint', 'steepness')
FLOOR = 0.05  # rates that all lie so near to 0 or 1 are at the floor or ceiling


@dataclasses.dataclass(frozen=True)
class DoseLaw:
  """One arm at one place of the grid of pretraining.

  Attributes:
    worlds: ascending.
    findings: of NAMES.
    doses: tokens (geometric mean over worlds), ascending.
    rates: at each.
    samples: [1 + 2 resamples, doses] of these rates, the first as they are.
    theta: [1 + 2 resamples, 4] of `logistic.curve`, the first the estimate; None without a curve.
    fails: why the curve does not describe its own doses; '' when it does.
    left_out: doses and worlds that would have left holes.
  """

  arm: str
  place: tuple[int, int]
  worlds: tuple[int, ...]
  findings: dict[str, Finding]
  doses: tuple[float, ...]
  rates: tuple[Finding, ...]
  samples: np.ndarray
  theta: np.ndarray | None = None
  fails: str = ''
  left_out: tuple[Refusal, ...] = ()

  @property
  def given(self) -> tuple[float, ...]:
    """The doses but 0."""
    return tuple(dose for dose in self.doses if dose)


def fit(cells: Sequence[Cell], arm: str, drawn: Draws | None, settings: Settings) -> DoseLaw:
  """The curve of an arm, or for each parameter why there is none.

  Args:
    cells: of one place, with rates; of other arms those without alignment tokens.
    drawn: weights of their replicas; None where there are too few worlds for any.
  """
  place = cells[0].place
  aligned = {c.world for c in cells if c.taught == arm}
  cells = [c for c in cells if c.world in aligned]
  kept, left_out = complete.table(cells, [arm], settings.least_worlds)
  if drawn is None or not kept:
    groups = complete.doses(cells, [arm])
    worlds = sorted(max((complete.worlds(g) for g in groups), key=len))
    why = (
      f'{len(worlds)} world{"s" * (len(worlds) != 1)}; an interval over worlds needs at least '
      f'{settings.least_worlds}'
    )
    at = tuple(complete.tokens(g) for g in groups)
    rates = tuple(Refusal(_rate_at(t), why) for t in at)
    return DoseLaw(arm, place, tuple(worlds), _all(why), at, rates, np.empty((0, len(at))))
  groups = complete.doses(kept, [arm])
  worlds = tuple(sorted(complete.worlds(groups[0])))
  at = tuple(complete.tokens(g) for g in groups)
  drawn = drawn.among(len(worlds))
  samples, weights = _resample(groups, drawn)
  rates = tuple(clipped(drawn.interval(s)) for s in samples.T)
  if why := _no_curve(at, rates, samples, drawn):
    return DoseLaw(arm, place, worlds, _all(why), at, rates, samples, left_out=left_out)
  x = np.log(np.array(at), where=np.array(at) > 0, out=np.full(len(at), -np.inf))
  begin = logistic.starts(x, samples[0])
  as_is = [np.broadcast_to(own[0], (len(begin), len(at))) for own in (samples, weights)]
  several, loss = logistic.fit(x, *as_is, begin, settings.reach)
  best = several[loss.argmin()]
  # What two arms do not know is not the same.
  rng = np.random.default_rng([settings.seed, *place, crc32(arm.encode())])
  resampled = logistic.refit(x, samples[1:], weights[1:], best, settings.reach, rng)
  stretch = np.repeat([drawn.stretch, 1.0], settings.resamples)
  logistic.spread_steps(resampled, x, settings.reach, best, stretch, rng)
  theta = np.concatenate([best[None], resampled])
  fails = _check(groups, x, best, settings)
  findings = _findings(theta, at, drawn, settings)
  return DoseLaw(arm, place, worlds, findings, at, rates, samples, theta, fails, left_out)


def _rate_at(dose: float) -> str:
  return f'rate at A = {number(dose)}'


def _all(why: str) -> dict[str, Finding]:
  return {name: Refusal(name, why) for name in NAMES}


def clipped(found: Estimate, least: float = 0.0) -> Estimate:
  """A stretched interval of a rate does not leave 0 to 1, one of a difference not -1 to 1."""
  return Estimate(found.value, max(found.low, least), min(found.high, 1.0))


def _resample(groups, drawn: Draws) -> tuple[np.ndarray, np.ndarray]:
  """([1 + 2 resamples, doses] rates, the same of weights)."""
  effective = bootstrap.effective_items(groups)
  found = [bootstrap.rates(g, own, drawn) for g, own in zip(groups, effective, strict=True)]
  rates, weights = zip(*found, strict=True)
  return np.stack(rates, axis=1), np.stack(weights, axis=1)


def _no_curve(at, rates: Sequence[Estimate], samples: np.ndarray, drawn: Draws) -> str:
  """Why these doses have no curve; '' when they have one."""
  if len(at) < complete.FEWEST:
    shown = f'{len(at)} dose{"s" * (len(at) != 1)} (A = {", ".join(map(number, at))})'
    return f'{shown}; a floor, a ceiling and a slope need {complete.FEWEST}'
  highest = max((r for r, dose in zip(rates, at, strict=True) if dose), key=lambda r: r.value)
  if highest.value < FLOOR:
    most = say(highest)
    none = rates[0] if at[0] == 0 else None
    if none and none.value < FLOOR:
      return f'all rates are at the floor, without alignment too ({say(none)}): nothing can fall'
    return f'all rates after alignment are at the floor (at most {most}): smaller doses are needed'
  lowest = min(rates, key=lambda r: r.value)
  if lowest.value > 1 - FLOOR:
    return f'all rates are at the ceiling (at least {say(lowest)}): larger doses are needed'
  # Equal rates of two weighted means differ by 1e-16, which would be printed.
  fall = clipped(drawn.interval(np.round(samples[:, 0] - samples[:, -1], 12)), least=-1.0)
  least = drawn.settings.least_fall
  if fall.value < least or fall.low <= 0:
    span = f'from A = {number(at[0])} to {number(at[-1])}'
    moves = f'falls by {say(fall)}'
    if fall.value < 0:
      moves = f'rises by {say(Estimate(-fall.value, -fall.high, -fall.low))}'
    return f'{span} the rate {moves}; a curve needs a sure fall, of {least:g} or more'
  return ''


def _check(groups, x, best, settings: Settings) -> str:
  """Why a curve does not describe its doses; '' when it does: lack of fit, worlds' levels taken
  out, or where nothing tells noise, as worlds agree to the digit, the size of the misfit."""
  runs = [(i, c) for i, group in enumerate(groups) for c in group]
  code = np.array([i for i, _ in runs])
  worlds = sorted({c.world for _, c in runs})
  own = np.eye(len(worlds))[[worlds.index(c.world) for _, c in runs]]
  own = own[:, :-1] - own[:, -1:]
  residuals = np.array([c.rate for _, c in runs]) - logistic.curve(best, x)[code]
  small = np.column_stack([logistic.jacobian(best, x)[code], own])
  r = residuals - small @ np.linalg.lstsq(small, residuals)[0]
  full = np.column_stack([np.eye(len(groups))[code], own])
  p = misfit.f_test(r, small, full).p
  if p is None:  # four doses leave a curve nothing free; bounds may hinder it all the same
    apart = residuals - own @ np.linalg.lstsq(own, residuals)[0]
    p = misfit.f_test(apart, own, full).p
  means = np.bincount(code, residuals) / np.bincount(code)
  size = float(np.sqrt(np.mean(means**2)))
  if size < settings.least_fall / 2 or (p is not None and p >= settings.check):
    return ''
  told = 'and nothing says how much of that is noise' if p is None else f'F test, p = {p:.1g}'
  return f'the curve misses its own doses by {size:.2f} ({told})'


def _findings(theta, at, drawn: Draws, settings: Settings) -> dict[str, Finding]:
  """Each parameter with its interval, or why the doses do not bound it."""
  found: dict[str, Finding] = {}
  for i, (name, end) in enumerate((('floor', 0.0), ('ceiling', 1.0))):
    found[name] = clipped(drawn.interval(theta[:, i]))
    if found[name] == Estimate(end, end, end):  # it would pass for certainty
      found[name] = Refusal(name, f'{end:g} in all resamples, which is as far as a share can go')
  given = [dose for dose in at if dose]
  tried = f'the doses tried (A = {number(given[0])} to {number(given[-1])})'
  log_mid = drawn.interval(theta[:, 2])
  low, high = np.log(given[0]), np.log(given[-1])
  if not low <= log_mid.value <= high:
    side = 'below' if log_mid.value < low else 'beyond'
    why = f'the midpoint lies {side} {tried}'
    return found | {name: Refusal(name, why) for name in NAMES[2:]}
  margin = np.log(settings.reach)
  if log_mid.low < low - margin or log_mid.high > high + margin:
    found['midpoint'] = Refusal(
      'midpoint', f'its interval reaches {settings.reach:g} times beyond {tried}'
    )
  else:
    found['midpoint'] = _exp(log_mid)
  log_steep = drawn.interval(theta[:, 3])
  ends = np.log(logistic.steepness(np.log(given)))
  if log_steep.low <= ends[0] + 0.01 or log_steep.high >= ends[1] - 0.01:
    found['steepness'] = Refusal('steepness', 'the doses do not bound it: more of them are needed')
  else:
    found['steepness'] = _exp(log_steep)
  return found


def _exp(found: Estimate) -> Estimate:
  return Estimate(*(float(np.exp(v)) for v in (found.value, found.low, found.high)))


def predict(law: DoseLaw, dose: float, drawn: Draws, settings: Settings) -> Finding:
  """The rate at another dose, mean over worlds; refused where the curve fails or would have to
  reach too far."""
  given = law.given
  what = f'{law.arm}, {_rate_at(dose)}'
  if law.theta is None or law.fails:
    return Refusal(what, f'not predicted: {law.fails or "there is no curve"}')
  if dose == 0 and 0 not in law.doses:
    return Refusal(what, 'not predicted: no model without alignment tokens was tried')
  beyond = max(dose / given[-1], given[0] / dose if dose else 1.0)
  if beyond > settings.reach:
    return Refusal(
      what,
      f'not predicted: {number(beyond, 2)} times beyond the doses tried (A = {number(given[0])} to '
      f'{number(given[-1])}); predictions reach {settings.reach:g} times',
    )
  rates = logistic.curve(law.theta, np.log([dose]) if dose else np.array([-np.inf]))[:, 0]
  return clipped(drawn.among(len(law.worlds)).interval(rates))
