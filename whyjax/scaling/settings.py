"""What a fit of scaling laws leaves open, with the defaults that it states."""

import dataclasses
import math
import numbers

from whyjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Settings:
  """How laws are fitted and when they are refused.

  Attributes:
    confidence: of all intervals.
    resamples: of every bootstrap.
    seed: of every bootstrap; equal cells and settings give equal findings.
    huber: log residuals of the loss below it count squared, larger ones by their size (Hoffmann et
      al. 2022).
    rests, exponents: the grid of starts of a fit of the loss: shares of the loss that can't be
      reduced, times exponents of each axis.
    reach: a prediction may leave the range of the fit by this factor, in parameters, tokens and
      compute, and no more.
    check: a fit fails its residual check where a misfit as large as its own is less likely than it
      by the noise of replicates.
    least_misfit: and is at least so large (root mean square of log loss): a misfit of less is
      counted in the intervals and hinders nothing.
    largest_residual: without replicates a fit fails where its residuals are larger than this.
    same_compute: cells whose compute differs by at most this factor make one isoFLOP level.
    least_worlds: a rate has no interval over fewer worlds.
    least_fall: a rate that falls by less between the smallest and the largest dose has no curve.
    matched: the misaligned share at which two arms' tokens are compared; None: where the control
      has done `share` of the fall that its doses show.
    share: see `matched`.
    held_out: how many of the largest levels of compute are predicted before they are looked at.
  """

  confidence: float = 0.95
  resamples: int = 400
  seed: int = 0
  huber: float = 1e-3
  rests: tuple[float, ...] = (0.1, 0.5, 0.8, 0.95)
  exponents: tuple[float, ...] = (0.1, 0.3, 0.6, 1.2)
  reach: float = 10.0
  check: float = 0.01
  least_misfit: float = 0.003
  largest_residual: float = 0.03
  same_compute: float = 1.25
  least_worlds: int = 3
  least_fall: float = 0.1
  matched: float | None = None
  share: float = 0.9
  held_out: int = 1

  def __post_init__(self):
    for name in ('confidence', 'check', 'share', 'matched'):
      least = 0.5 if name == 'confidence' else 0
      value = getattr(self, name)
      holds = (name == 'matched' and value is None) or (real(value) and least < value < 1)
      _require(holds, name, value, f'between {least} and 1')
    for name, least in {'resamples': 20, 'least_worlds': 2, 'held_out': 1, 'seed': 0}.items():
      value = getattr(self, name)
      whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
      _require(whole and value >= least, name, value, f'a whole number, at least {least}')
    for name in ('huber', 'least_misfit', 'largest_residual', 'least_fall'):
      value = getattr(self, name)
      _require(real(value) and value > 0, name, value, 'above 0')
    for name in ('reach', 'same_compute'):
      value = getattr(self, name)
      _require(real(value) and value >= 1, name, value, 'a number, at least 1')
    for name, most, allowed in (
      ('rests', 1, 'numbers between 0 and 1'),
      ('exponents', math.inf, 'numbers above 0'),
    ):
      value = getattr(self, name)
      several = isinstance(value, tuple | list) and len(value) > 0
      holds = several and all(real(v) and 0 < v < most for v in value)
      _require(holds, name, value, allowed)


def real(value: object) -> bool:
  """Whether it is a finite number."""
  if not isinstance(value, numbers.Real) or isinstance(value, bool):
    return False
  try:
    return math.isfinite(value)
  except OverflowError:  # a whole number that no float holds
    return False


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
  if not holds:
    raise UserError(f'Settings.{name} = {value!r}: must be {allowed}')
