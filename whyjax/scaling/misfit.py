"""Does a law describe the cells that it was fitted to? Residuals, and F tests of them.

Runs at one place of the grid (worlds, whose levels are taken out, and seeds) differ by noise alone.
Where places scatter around the law by much more than that, the law is wrong there (lack of fit),
and the smaller excess that can't be ruled out widens intervals. Without replicates nothing says
what is noise: then a bound on the size of residuals stands in.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
from scipy import special

from whyjax.scaling import huber
from whyjax.scaling.settings import Settings


@dataclasses.dataclass(frozen=True)
class Checked:
  """How a law fits its own cells.

  Attributes:
    residuals: [runs], log; `freedom` of them are free.
    scatter: how far places of the grid scatter around the law over how far their runs say that they
      should, at least 1.
    by_world: worlds differ in slope, and not only in level.
    fails: why the law does not describe its cells; '' when it does.
    notes: what else a reader must know.
  """

  residuals: np.ndarray
  freedom: int
  scatter: float
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
  scatter, fails = _lack_of_fit(data, residuals, r, jacobian, places, settings)
  _, p = f_test(r, jacobian, np.column_stack([jacobian, _slopes(data)]))
  by_world = p is not None and p < settings.check
  notes = ()
  if by_world:
    notes = (
      f'worlds differ in how their loss falls, not only in its level (F test, p = {p:.1g}): '
      'intervals are over whole worlds',
    )
  freedom = len(r) - jacobian.shape[1]
  return Checked(residuals, freedom, scatter, by_world, fails, notes)


def _lack_of_fit(data, residuals, r, jacobian, places, settings: Settings) -> tuple[float, str]:
  """(scatter, fails) of Checked."""
  codes = np.unique(places, axis=0, return_inverse=True)[1].ravel()
  of_worlds = jacobian[:, data.shared :]
  ratio, p = f_test(r, jacobian, np.column_stack([np.eye(codes.max() + 1)[codes], of_worlds]))
  if p is None:
    size = float(np.sqrt(np.mean(residuals**2)))
    if size <= settings.largest_residual:
      return 1.0, ''
    return 1.0, (
      f'residuals of {size:.1%} of the loss exceed {settings.largest_residual:.1%}, and there are '
      'no replicates to say how much of that is noise'
    )
  size = float(np.sqrt(np.mean((np.bincount(codes, residuals) / np.bincount(codes)) ** 2)))
  times = float(np.sqrt(ratio))
  fails = ''
  if p < settings.check and size > settings.least_misfit:
    fails = (
      f'the law misses its own cells by {size:.2%} of the loss, {times:.1f} times what their '
      f'replicates say it should (F test, p = {p:.1g})'
    )
  return max(1.0, times), fails


def f_test(r, small, large) -> tuple[float, float | None]:
  """(F, p) of the columns that `large` has beyond `small`; p is None where nothing is left to test
  by.

  Args:
    r: least-squares residuals of `small`.
  """
  before, after = np.linalg.matrix_rank(small), np.linalg.matrix_rank(large)
  freedom = len(r) - after
  if freedom < 1 or after <= before:
    return 1.0, None
  left = np.sum((r - large @ np.linalg.lstsq(large, r)[0]) ** 2)
  if left <= 1e-24 * len(r):  # replicates that agree to the digit are none
    return 1.0, None
  ratio = max(np.sum(r**2) - left, 0.0) / (after - before) / (left / freedom)
  return float(ratio), float(special.fdtrc(after - before, freedom, ratio))


def _slopes(data) -> np.ndarray:
  """[runs, (worlds - 1) axes]: a slope of each world but the last, along each axis."""
  own = np.eye(data.worlds)[data.world][:, :-1]
  return (own[:, :, None] * data.x[:, None, :]).reshape(len(data.y), -1)
