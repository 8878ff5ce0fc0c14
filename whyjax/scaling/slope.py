"""How the ratio of two arms, or the advantage of one, moves with size and with dose: straight lines
in logs.

Where D varies as well as N, a line in log N alone would take what D does for what N does, as sizes
trained at equal compute have seen less text the larger they are. So the line is then of both, and
its slope in log N is that at equal D; where D follows from N, the two cannot be told apart.

A line through points that lie on none has a slope that says nothing, such as 0 for a U. What it
leaves of all points together is tested against how far worlds move it: an F test with the degrees
of freedom of Box 1954, as in repeated measures, for worlds move points together. Three or four
worlds tell strong bends alone.
"""

from collections.abc import Sequence

import numpy as np

from whyjax.scaling.bootstrap import Draws
from whyjax.scaling.estimate import Finding, Refusal, number
from whyjax.scaling.ratio import Advantage, Ratio

FEWEST = 3  # sizes, or doses, that a slope needs
SAME_TOKENS = 1.5  # D that varies by no more is one D; by no more at equal N, it follows from N
LEAST_BEND = 0.05  # of log10 of a ratio, or of a share: a line that misses by less is good enough


def by_size(found: Sequence[Ratio | Advantage], title: str, drawn: Draws) -> Finding:
  """How something moves with log10 N, at equal D: least squares over the places that have it."""
  sizes = sorted({f.place[0] for f in found})
  what = f'{title}, slope in log10 N'
  if len(sizes) < FEWEST:
    shown = f' (N = {", ".join(map(number, sizes))})' if sizes else ''
    return Refusal(what, f'{len(sizes)} of the {FEWEST} sizes that a slope needs have it{shown}')
  x = _places(found)
  if x is None:
    return Refusal(what, 'D follows from N at these places: what each does cannot be told')
  if len(found) < x.shape[1] + 2:
    return Refusal(what, f'{len(found)} places; a slope at equal D needs {x.shape[1] + 2}')
  return _slope(x, found, what, drawn)


def by_dose(found: Sequence[Advantage], title: str, drawn: Draws) -> Finding:
  """How the advantage at one place moves with log10 A: least squares over its doses."""
  what = f'{title}, slope in log10 A'
  if len(found) < FEWEST:
    return Refusal(what, f'both arms have {len(found)} of the {FEWEST} doses that a slope needs')
  x = np.log10([[a.dose] for a in found])
  return _slope(x - x.mean(axis=0), found, what, drawn)


def samples(found: Sequence[Ratio | Advantage]) -> np.ndarray:
  """[1 + 2 resamples] slopes in log10 N, as `by_size` takes them where it gives an estimate."""
  return np.linalg.pinv(_places(found))[0] @ np.array([f.samples for f in found])


def _places(found: Sequence[Ratio | Advantage]) -> np.ndarray | None:
  """[points, 1 or 2] log10 of N, and of D where it varies, each less its mean; None where N tells
  D."""
  logs = np.log10([f.place for f in found])
  logs -= logs.mean(axis=0)
  size, tokens = logs.T
  same = np.log10(SAME_TOKENS)
  if np.ptp(tokens) <= same:
    return logs[:, :1]
  apart = tokens - size * (size @ tokens) / (size @ size)
  return logs if np.ptp(apart) > same else None


def _slope(x: np.ndarray, found: Sequence[Ratio | Advantage], what: str, drawn: Draws) -> Finding:
  """The slope in the first column."""
  worlds = min(f.worlds for f in found)
  values = np.array([f.samples for f in found])
  away = values - values.mean(axis=0)
  slopes = np.linalg.pinv(x) @ away
  told = np.round(slopes[0], 12)  # least squares leave 1e-17 of 0, which would be printed
  if why := _bend(away - x @ slopes, worlds, drawn):
    return Refusal(what, why)
  return drawn.among(worlds).interval(told)


def _bend(left: np.ndarray, worlds: int, drawn: Draws) -> str:
  """Why the points lie on no line; '' when they may.

  Args:
    left: [points, 1 + 2 resamples] what the line leaves of each.
  """
  from scipy import special  # slow to import

  size = float(np.sqrt(np.mean(left[:, 0] ** 2)))
  if size < LEAST_BEND:
    return ''
  count = drawn.settings.resamples
  over = np.cov(left[:, 1 : count + 1]) * (worlds + 1) / (worlds - 1)
  noise = max(over, np.cov(left[:, count + 1 :]), key=np.trace)
  total = max(np.trace(noise), 1e-24)
  freedom = max(total**2 / max(np.sum(noise**2), 1e-48), 1.0)
  ratio = np.sum(left[:, 0] ** 2) / total
  p = float(special.fdtrc(freedom, freedom * (worlds - 1), ratio))
  if p >= drawn.settings.check:
    return ''
  return f'they lie on no straight line: it misses them by {size:.2g} (F test, p = {p:.1g})'
