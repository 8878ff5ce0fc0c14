"""Does a law describe the cells that it was fitted to? Residuals, and F tests of them.

Runs at one place of the grid (worlds, whose levels are taken out, and seeds) differ by noise alone.
Where places scatter around the law by much more than that, the law is wrong there (lack of fit),
and the smaller excess that can't be ruled out widens intervals. Without replicates nothing says
what is noise: then a bound on the size of residuals stands in.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from whyjax.scaling import huber
from whyjax.scaling.estimate import widening
from whyjax.scaling.settings import Settings


@dataclasses.dataclass(frozen=True)
class Checked:
  """How a law fits its own cells.

  Attributes:
    residuals: [runs], log.
    wide: how much wider than residuals noise has to be taken: few of them are free (`widening`),
      and places of the grid may scatter around the law by more than runs do (`Test.excess`).
    by_world: worlds differ in slope, and not only in level.
    fails: why the law does not describe its cells; '' when it does.
    notes: what else a reader must know.
  """

  residuals: np.ndarray
  wide: float
  by_world: bool
  fails: str
  notes: tuple[str, ...]


def check(
  data: huber.Data, best: np.ndarray, places: Sequence[tuple[int, int]], settings: Settings
) -> Checked:
  """Checks the law with these search parameters; `places` of the grid are given by run."""
  residuals = data.y - huber.fitted(best, data)
  jacobian = huber.jacobian(best, data)
  # The tests are of least squares: one step of it from Huber's optimum.
  r = residuals - jacobian @ np.linalg.lstsq(jacobian, residuals)[0]
  excess, fails = _lack_of_fit(data, residuals, r, jacobian, places, settings)
  slopes = f_test(r, jacobian, np.column_stack([jacobian, _slopes(data)]))
  by_world = slopes.p is not None and slopes.p < settings.check
  notes = ()
  if by_world:
    notes = (
      f'worlds differ in how their loss falls, not only in its level (F test, p = {slopes.p:.1g}): '
      'intervals are over whole worlds',
    )
  wide = excess * widening(len(r), len(r) - jacobian.shape[1], settings.confidence)
  return Checked(residuals, wide, by_world, fails, notes)


def _lack_of_fit(data, residuals, r, jacobian, places, settings: Settings) -> tuple[float, str]:
  """(`Test.excess`, fails of Checked)."""
  codes = np.unique(places, axis=0, return_inverse=True)[1].ravel()
  of_worlds = jacobian[:, data.shared :]
  found = f_test(r, jacobian, np.column_stack([np.eye(codes.max() + 1)[codes], of_worlds]))
  if found.p is None:
    size = float(np.sqrt(np.mean(residuals**2)))
    if size <= settings.largest_residual:
      return 1.0, ''
    return 1.0, (
      f'residuals of {size:.1%} of the loss exceed {settings.largest_residual:.1%}, and there are '
      'no replicates to say how much of that is noise'
    )
  size = float(np.sqrt(np.mean((np.bincount(codes, residuals) / np.bincount(codes)) ** 2)))
  fails = ''
  if found.p < settings.check and size > settings.least_misfit:
    fails = (
      f'the law misses its own cells by {size:.2%} of the loss, {np.sqrt(found.ratio):.1f} times '
      f'what their replicates say it should (F test, p = {found.p:.1g})'
    )
  return found.excess, fails


@dataclasses.dataclass(frozen=True)
class Test:
  """An F test of columns added to a linear model.

  Attributes:
    ratio: F; 1 where nothing is left to test by.
    p: None there.
    added, left: degrees of freedom.
  """

  ratio: float = 1.0
  p: float | None = None
  added: int = 0
  left: int = 0

  @property
  def excess(self) -> float:
    """How much wider than the residuals of the smaller model noise would have to be, if the scatter
    between places were all noise of their runs, and no misfit that their runs share; at least 1."""
    both = self.added * self.ratio + self.left
    return float(np.sqrt(max(1.0, self.ratio * (self.added + self.left) / both))) if both else 1.0


def f_test(r: np.ndarray, small: np.ndarray, large: np.ndarray) -> Test:
  """Tests the columns that `large` has beyond `small`.

  Args:
    r: least-squares residuals of `small`.
  """
  from scipy import special  # slow to import

  before, after = np.linalg.matrix_rank(small), np.linalg.matrix_rank(large)
  added, left = int(after - before), int(len(r) - after)
  if left < 1 or added < 1:
    return Test()
  rest = np.sum((r - large @ np.linalg.lstsq(large, r)[0]) ** 2)
  if rest <= 1e-24 * len(r):  # replicates that agree to the digit are none
    return Test()
  ratio = max(np.sum(r**2) - rest, 0.0) / added / (rest / left)
  return Test(float(ratio), float(special.fdtrc(added, left, ratio)), added, left)


def _slopes(data) -> np.ndarray:
  """[runs, (worlds - 1) axes]: a slope of each world but the last, along each axis."""
  own = np.eye(data.worlds)[data.world][:, :-1]
  return (own[:, :, None] * data.x[:, None, :]).reshape(len(data.y), -1)
