"""What the figures of scaling laws share: shades of ordered values, points with intervals, axes."""

from collections.abc import Sequence
import math

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.ticker import (
  FixedLocator,
  FuncFormatter,
  LogLocator,
  MaxNLocator,
  NullFormatter,
  NullLocator,
)
import numpy as np

from whyjax.report import figures
from whyjax.report.figures import Theme
from whyjax.scaling.estimate import Estimate
from whyjax.scaling.laws import Laws

BAR = {'linewidth': 1.6, 'capsize': 0, 'markersize': 5.5, 'linestyle': 'none'}
Look = tuple[str, str]  # colour, marker
_UNITS = ('', 'k', 'M', 'G', 'T')


def count(value: float) -> str:
  """A count for people, to three digits: 632k."""
  if value < 1:
    return f'{value:.3g}'
  power = min(int(math.log10(float(f'{value:.3g}')) // 3), len(_UNITS) - 1)
  return f'{value / 1000**power:.3g}{_UNITS[power]}'


def flops(value: float) -> str:
  """Compute to two digits: 1e13."""
  return f'{value:.2g}'.replace('e+', 'e')


def shades(values: Sequence[float], theme: Theme) -> dict[float, Look]:
  """(colour, marker) of ordered values, from one end of viridis to the other: colour-blind readers
  see them as from dark to bright. The ends stand out from the paper."""
  ends = (0.0, 0.82) if theme is figures.LIGHT else (0.25, 1.0)
  colours = matplotlib.colormaps['viridis'](np.linspace(*ends, max(len(values), 2)))
  return {
    value: (to_hex(colours[i]), figures.style(i, theme)[1])
    for i, value in enumerate(sorted(values))
  }


def points(
  ax: Axes, found: Sequence[tuple[float, Estimate]], look: Look, joined: bool = False
) -> None:
  """Estimates at places of the horizontal axis, with their intervals."""
  if not found:
    return
  x, values = [x for x, _ in found], [e.value for _, e in found]
  bars = np.array([[e.value - e.low, e.high - e.value] for _, e in found]).T
  colour, marker = look
  ax.errorbar(x, values, yerr=bars, color=colour, marker=marker, zorder=3, **BAR)
  if joined:
    ax.plot(x, values, color=colour, linewidth=1.2, alpha=0.6, zorder=2)


def beside(i: int, of: int, step: float = 0.05) -> float:
  """The factor on a logarithmic axis that keeps the i-th of so many bars off the others."""
  return float(np.exp(step * (i - (of - 1) / 2)))


def log_x(ax: Axes, label: str, theme: Theme) -> None:
  """A logarithmic horizontal axis of counts or of compute; call it when all is drawn and its limits
  are set."""
  ax.set_xscale('log')
  ax.set_xlabel(label, color=theme.faint, fontsize=9)
  low, high = ax.get_xlim()
  # Powers of 10 alone may leave it without labels, and more than it needs run into each other.
  decades = 10 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1)
  for subs in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
    ticks = np.outer(decades, subs).ravel()
    ticks = ticks[(low <= ticks) & (ticks <= high)]
    if len(ticks) > 2:
      ax.xaxis.set_major_locator(FixedLocator(ticks[:: len(ticks) // 7 + 1]))
      break
  else:
    ax.xaxis.set_major_locator(MaxNLocator(3))
  ax.xaxis.set_minor_formatter(NullFormatter())
  said = flops if label.startswith('C,') else count
  ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: said(x)))
  _rules(ax, theme)


def log_losses(ax: Axes, label: str, theme: Theme) -> None:
  """A logarithmic vertical axis that spans less than a decade."""
  ax.set_yscale('log')
  ax.set_ylabel(label, color=theme.faint, fontsize=9)
  ax.yaxis.set_major_locator(MaxNLocator(7))
  ax.yaxis.set_minor_locator(NullLocator())
  ax.yaxis.set_major_formatter('{x:.3g}')


def log_counts(ax: Axes, label: str, theme: Theme) -> None:
  """A logarithmic vertical axis of counts, or of ratios, which below 1 are written as 1/x."""
  ax.set_yscale('log')
  ax.set_ylabel(label, color=theme.faint, fontsize=9)
  ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
  ax.yaxis.set_major_formatter(
    FuncFormatter(lambda y, _: count(y) if y >= 1 else f'1/{count(1 / y)}')
  )
  ax.yaxis.set_minor_formatter(NullFormatter())


def shares(ax: Axes, label: str, theme: Theme) -> None:
  """A vertical axis from 0 to 1."""
  ax.set_ylim(-0.03, 1.03)
  ax.set_ylabel(label, color=theme.faint, fontsize=9)


def _rules(ax: Axes, theme: Theme) -> None:
  ax.grid(color=theme.band, which='major', linewidth=0.8)
  ax.set_axisbelow(True)


def title(ax: Axes, text: str, theme: Theme) -> None:
  """The title of one panel."""
  ax.set_title(text, loc='left', fontsize=10, color=theme.ink, pad=7)


def panel_legend(ax: Axes, looks: dict[str, Look], theme: Theme) -> None:
  """What the shades of one panel mean, below it."""
  handles = [
    matplotlib.lines.Line2D([], [], color=colour, marker=marker, label=label, markersize=4.5)
    for label, (colour, marker) in looks.items()
  ]
  ax.legend(
    handles=handles,
    loc='upper left',
    bbox_to_anchor=(-0.02, -0.17),
    ncols=min(len(handles), 5),
    frameon=False,
    fontsize=8,
    labelcolor=theme.ink,
    handlelength=1.2,
    columnspacing=1.2,
    borderpad=0,
  )


def said(found: Estimate) -> str:
  """To two decimals, with true minus signs."""
  parts = (f'{v:.2f}'.replace('-', '\N{MINUS SIGN}') for v in (found.value, found.low, found.high))
  value, low, high = parts
  return f'{value} [{low}, {high}]'


def about(found: Laws) -> str:
  """What the rates are of."""
  return f'Misaligned choices{f" ({found.about})" if found.about else ""}'


def percent(found: Laws) -> str:
  """The confidence of the intervals."""
  return f'{found.settings.confidence:.0%}'
