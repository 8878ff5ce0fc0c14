"""How many alignment tokens one arm needs beside another, and how much better it does at equal
doses.

The data-efficiency ratio is the horizontal distance of two fitted dose curves (`dose_law`) at one
misaligned share, the *matched rate*: log10 of the tokens that the treatment needs over those that
the control needs; -1 is a tenth. Unless it is given, the matched rate is where the control has done
nine tenths of the fall that its doses show: at its full dose the curve may have levelled off, and a
plateau has no horizontal distance.

`whyjax/study/efficiency.py` measures the same within one study, and its conventions hold here:
ratios are logs, and a treatment that is there at its smallest dose, or not at its full one, is a
bound, which makes no estimate. It differs in this. There every world has a matched rate and a curve
of its own (isotonic, without a dose of 0), and logs of ratios are averaged: that suits one study,
paired and free of any law. Here one curve is fitted to the mean over worlds, with floor and
ceiling: its ratio is that of the mean curves, it can be asked at any rate and so be compared across
sizes. Where worlds differ much in where they fall, the mean curve is flatter than theirs, for both
arms.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from whyjax.scaling import bootstrap, complete, logistic
from whyjax.scaling import cells as tables
from whyjax.scaling.bootstrap import Draws
from whyjax.scaling.cells import Cell
from whyjax.scaling.dose_law import DoseLaw, clipped
from whyjax.scaling.estimate import Estimate, Finding, Refusal, factor, number, say
from whyjax.scaling.settings import Settings


@dataclasses.dataclass(frozen=True)
class Ratio:
  """Two arms at one place of the grid.

  Attributes:
    worlds: how many.
    log_ratio: log10 of the tokens that the treatment needs over those that the control needs.
    matched: the misaligned share at which; None where it did not come to that.
    samples: [1 + 2 resamples] of log_ratio, the first the estimate; None without one.
    left_out: doses and worlds that would have left holes.
  """

  place: tuple[int, int]
  treatment: str
  control: str
  worlds: int
  log_ratio: Finding
  matched: Estimate | None = None
  samples: np.ndarray | None = None
  left_out: tuple[Refusal, ...] = ()


@dataclasses.dataclass(frozen=True)
class Advantage:
  """Treatment less control at one dose of one place: negative where the treatment misaligns less.

  Attributes:
    worlds: how many.
    samples: [1 + 2 resamples] of the difference.
  """

  place: tuple[int, int]
  treatment: str
  control: str
  dose: float
  worlds: int
  difference: Estimate
  samples: np.ndarray


def ratio(treatment: DoseLaw, control: DoseLaw, drawn: Draws, settings: Settings) -> Ratio:
  """The ratio of two arms in the same worlds at one place, or why there is none, with what the
  doses say all the same."""
  at, names, worlds = control.place, (treatment.arm, control.arm), len(control.worlds)

  def refused(why, matched=None):
    return Ratio(at, *names, worlds, Refusal(_title(*names, at), why), matched)

  if treatment.worlds != control.worlds:
    return refused('the arms are not of the same worlds')
  if why := _unfit(control):
    return refused(why)
  drawn = drawn.among(worlds)
  rate, side = _matched(control, settings)
  matched = clipped(drawn.interval(rate))
  if side:
    return refused(f'{control.arm} {side} the matched rate of {say(matched)}', matched)
  theirs, lost = _crossing(control, rate, matched, settings)
  if lost:
    return refused(lost, matched)
  if why := _unfit(treatment):
    end = _observed_end(treatment, rate, drawn)
    if end is not None:
      why = _bound(treatment, end, theirs, control.arm, matched, drawn)
    return refused(why, matched)
  ours, far = _crossing(treatment, rate, matched, settings)
  if why := _off(treatment, rate, ours, theirs, control.arm, matched, drawn) or far:
    return refused(why, matched)
  samples = (ours - theirs) / np.log(10)
  return Ratio(at, *names, worlds, drawn.interval(samples), matched, samples)


def _crossing(
  law: DoseLaw, rate: np.ndarray, matched: Estimate, settings: Settings
) -> tuple[np.ndarray, str]:
  """([1 + 2 resamples] log tokens at which an arm comes to the rate, kept within reach of its
  doses; why an interval of them would be none, or '')."""
  margin = np.log(settings.reach)
  low, high = np.log(law.given[0]) - margin, np.log(law.doses[-1]) + margin
  found = logistic.tokens_at(law.theta, rate)
  outside = (found[1:] < low) | (found[1:] > high)
  # Each half has an interval of its own (`Draws.interval`), and so tails of its own.
  out = outside.reshape(2, -1).mean(axis=1).max()
  why = ''
  if out > (1 - settings.confidence) / 2:
    why = (
      f'in {out:.0%} of resamples {law.arm} comes to the matched rate of {say(matched)} more than '
      f'{settings.reach:g} times outside of its doses: no interval'
    )
  return np.clip(found, low, high), why


def _title(treatment: str, control: str, place: tuple[int, int]) -> str:
  return f'{treatment} / {control}, {tables.place(place)}'


def _matched(control: DoseLaw, settings: Settings) -> tuple[np.ndarray, str]:
  """([1 + 2 resamples] matched rate, on which side of the control's curve it lies; '' if on it)."""
  given = control.given
  ends = logistic.curve(control.theta, np.log([given[0], given[-1]]))
  if settings.matched is None:
    return ends[:, 1] + (1 - settings.share) * (ends[:, 0] - ends[:, 1]), ''
  rate = np.full(len(ends), settings.matched)
  if settings.matched > ends[0, 0]:
    return rate, f'is at its smallest dose (A = {number(given[0])}) already below'
  if settings.matched < ends[0, 1]:
    return rate, f'is at its full dose (A = {number(given[-1])}) still above'
  return rate, ''


def _unfit(law: DoseLaw) -> str:
  """Why a curve can't be used; '' when it can."""
  if law.theta is None:
    return f'{law.arm} has no curve: {law.findings["midpoint"].why}'
  return law.fails and f'{law.arm}: {law.fails}'


def _off(law: DoseLaw, rate, ours, theirs, control: str, matched: Estimate, drawn: Draws) -> str:
  """What can be said where the curve of the treatment comes to the matched rate outside of its
  doses: a bound where that is sure, by the curve and by the rates themselves, which it smooths; ''
  where it is within them."""
  smallest = law.doses.index(law.given[0])
  low, high = np.log(law.doses[smallest]), np.log(law.doses[-1])
  if low <= ours[0] <= high:
    return ''
  crossed = drawn.interval(ours)
  end = smallest if crossed.high < low else -1 if crossed.low > high else None
  if end is not None and end == _observed_end(law, rate, drawn):
    return _bound(law, end, theirs, control, matched, drawn)
  where, dose = ('below its smallest', smallest) if ours[0] < low else ('beyond its full', -1)
  return (
    f'by its curve {law.arm} comes to the rate of {say(matched)} {where} dose (A = '
    f'{number(law.doses[dose])}), but maybe within its doses: neither a ratio nor a bound is sure'
  )


def _observed_end(law: DoseLaw, rate: np.ndarray, drawn: Draws) -> int | None:
  """Beyond which of its doses (indices) an arm comes to the matched rate, by their rates alone;
  None where that is not sure."""
  away = np.round(law.samples - rate[:, None], 12)
  smallest = law.doses.index(law.given[0])
  if drawn.interval(away[:, smallest]).high < 0:
    return smallest
  above = [drawn.interval(own).low > 0 for own in away[:, smallest:].T]
  return -1 if all(above) else None


def _bound(
  law: DoseLaw, end: int, theirs: np.ndarray, control: str, matched: Estimate, drawn: Draws
) -> str:
  """What the doses say where the treatment comes to the matched rate beyond the dose `end`."""
  side, dose, than, wanted = (
    ('above', 'full', 'more', 'larger') if end == -1 else ('below', 'smallest', 'less', 'smaller')
  )
  at = law.doses[end]
  limit = factor(drawn.interval((np.log(at) - theirs) / np.log(10)))
  return (
    f'a bound: {law.arm} is at its {dose} dose (A = {number(at)}) {side} the rate of '
    f'{say(matched)} at which {control} is matched, so that it needs {than} than {limit} times the '
    f'tokens; {wanted} doses are needed'
  )


def advantages(
  cells: Sequence[Cell], pair: tuple[str, str], drawn: Draws, settings: Settings
) -> list[Advantage]:
  """Treatment less control at every dose that enough worlds have of both, in those worlds; smallest
  dose first.

  Args:
    cells: of one place, with rates.
  """
  cells = sorted(cells, key=lambda c: (c.alignment_tokens, c.arm, c.replica))
  counts: dict[Cell, float] = {}
  for arm in pair:
    groups = complete.doses(cells, [arm])
    for group, own in zip(groups, bootstrap.effective_items(groups), strict=True):
      counts |= dict(zip(group, own.tolist(), strict=True))
  found = []
  for group in complete.doses(cells, pair):
    worlds = complete.worlds(group)
    sides = [[c for c in group if c.arm == arm and c.world in worlds] for arm in pair]
    if complete.tokens(group) and all(sides) and len(worlds) >= settings.least_worlds:
      rates = [bootstrap.rates(s, np.array([counts[c] for c in s]), drawn)[0] for s in sides]
      # Equal rates of two weighted means differ by 1e-16, which would be printed.
      samples = np.round(rates[0] - rates[1], 12)
      difference = clipped(drawn.among(len(worlds)).interval(samples), least=-1.0)
      dose = complete.tokens(sides[0])
      found.append(Advantage(group[0].place, *pair, dose, len(worlds), difference, samples))
  return found
