"""Figures, light or dark, in the colours of Okabe and Ito, which colour-blind readers tell
apart."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import io
import itertools
import textwrap
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter
import numpy as np

from whyjax import results
from whyjax.report import summary
from whyjax.report.summary import Cell, Key

PANELS = {'forced': 'Forced: the action alone', 'greedy': 'Free-running: writes first, then acts'}
_MARKERS = 'osD^vP*'  # not as many as colours: the pairs differ longer
_DPI = 150
_LETTERS = 11  # of a title in an inch of width; longer titles are cut off


@dataclasses.dataclass(frozen=True)
class Theme:
  """Colours of one figure; those of `series` are taken in order."""

  paper: str
  ink: str
  faint: str
  band: str
  series: tuple[str, ...]


LIGHT = Theme(
  paper='#ffffff',
  ink='#1d1c1a',
  faint='#6b6862',
  band='#f5f3ef',
  series=('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00'),
)
DARK = Theme(
  paper='#17181a',
  ink='#e9e7e2',
  faint='#a19d95',
  band='#202225',
  series=('#56B4E9', '#F0914A', '#2FC09A', '#E39AC4', '#F0E442'),
)


def style(number: int, theme: Theme) -> tuple[str, str]:
  """(colour, marker) of the series with this number."""
  return theme.series[number % len(theme.series)], _MARKERS[number % len(_MARKERS)]


def arm_styles(arms: Iterable[str], theme: Theme) -> dict[str, tuple[str, str]]:
  """(colour, marker) of each of these arms, by its place among them; the base is grey."""
  numbers = itertools.count()
  return {
    arm: (theme.faint, 'X') if arm == results.BASE else style(next(numbers), theme)
    for arm in dict.fromkeys(arms)
  }


def panels(found: Mapping[Key, Cell]) -> list[str]:
  """The scorings by which arms were evaluated on the main battery: the panels of `headline`."""
  return [
    s for s in PANELS if any(k.arm and k.battery == results.MAIN and k.scoring == s for k in found)
  ]


def headline(found: Mapping[Key, Cell], theme: Theme = LIGHT) -> Figure:
  """Misaligned choices with tools: an arm a row, a moment a colour, a scoring a panel (at least
  one)."""
  arms, moments, scorings = summary.arms(found), summary.moments(found), panels(found)
  if len(moments) > len(theme.series):
    moments = moments[:1]  # what lasts has figures of its own
  height = 1.6 + (0.25 + 0.11 * len(moments)) * len(arms)
  figure, (axes,) = grid(1, len(scorings), (3.0 + 3.6 * len(scorings), height), theme)
  for ax, scoring in zip(axes, scorings, strict=True):
    for row, arm in enumerate(arms):
      _row(ax, row, [found.get(Key(arm, m, results.MAIN, scoring)) for m in moments], theme)
    ax.spines['left'].set_visible(False)  # arms have names there
    ax.set_title(PANELS[scoring], loc='left', fontsize=10.5, color=theme.ink, pad=7)
    ax.set(xlim=(-0.03, 1.16), ylim=(len(arms) - 0.5, -0.5), yticks=[], xticks=np.linspace(0, 1, 5))
    ax.spines['bottom'].set_bounds(0, 1)
    ax.set_xlabel('share of misaligned choices', color=theme.faint, fontsize=9)
  for row, arm in enumerate(arms):
    _label(axes[0], row, arm, theme)
  title = (
    f'Misaligned choices in {results.MAIN}: replicas (dots), their mean ± 2 standard errors over '
    'worlds'
  )
  # Short enough that five of them fit in one line.
  names = [f'then {m.later}' if m.later else m.label for m in moments]
  legend(figure, title, {name: style(i, theme) for i, name in enumerate(names)}, theme)
  return figure


def grid(
  rows: int, columns: int, inches: tuple[float, float], theme: Theme
) -> tuple[Figure, Sequence[Sequence[Axes]]]:
  """An empty figure with axes in rows and columns, each with a left and a lower edge."""
  figure = Figure(figsize=inches, layout='constrained', facecolor=theme.paper)
  axes = figure.subplots(rows, columns, squeeze=False)
  for ax in axes.flat:
    ax.set_facecolor(theme.paper)
    ax.spines[['top', 'right']].set_visible(False)
    ax.spines[['bottom', 'left']].set_color(theme.faint)
    ax.tick_params(which='both', colors=theme.faint, labelsize=8.5, length=3)
  return figure, axes


def _row(ax: Axes, row: int, cells: Sequence[Cell | None], theme: Theme) -> None:
  """One arm: its moments below each other."""
  if row % 2 == 0:
    ax.axhspan(row - 0.5, row + 0.5, color=theme.band, zorder=0, linewidth=0)
  for i, cell in enumerate(cells):
    y = row + 0.66 * ((i + 0.5) / len(cells) - 0.5)
    color, marker = style(i, theme)
    if cell is None:
      continue
    if cell.se is not None:
      ends = np.clip([cell.rate - 2 * cell.se, cell.rate + 2 * cell.se], 0, 1)
      ax.plot(ends, [y, y], color=color, linewidth=1.8, solid_capstyle='round', zorder=2)
    ax.scatter(
      cell.rates, [y] * len(cell.rates), s=9, color=color, alpha=0.45, linewidths=0, zorder=3
    )
    if cell.rate is not None:
      edge = {'edgecolor': theme.paper, 'linewidth': 0.8}
      ax.scatter([cell.rate], [y], s=34, color=color, marker=marker, zorder=4, **edge)
    note = ''
    if cell.refused:
      note = f'{cell.not_scored} not scored'
    elif cell.other + cell.malformed >= summary.NOTABLE:
      note = f'{cell.other + cell.malformed:.0%} neither'
    if note:
      ax.annotate(
        note, (1.15, y), color=theme.faint, fontsize=7, ha='right', va='center', style='italic'
      )


def _label(ax: Axes, row: int, arm: str, theme: Theme) -> None:
  """An arm's name, and below it in small what the arm reads."""
  place = {'xycoords': ('axes fraction', 'data'), 'textcoords': 'offset points', 'ha': 'right'}
  about = summary.ARMS.get(arm, '')
  ax.annotate(
    arm, (0, row), (-8, 1 if about else -3), fontsize=9.5, color=theme.ink, va='bottom', **place
  )
  ax.annotate(about, (0, row), (-8, -1), fontsize=7.5, color=theme.faint, va='top', **place)


def legend(
  figure: Figure,
  title: str,
  styles: Mapping[str, tuple[str, str]],
  theme: Theme,
  columns: int | None = None,
) -> None:
  """The title and what the colours and markers mean, above the panels; in one line unless columns
  are given."""
  handles = [
    Line2D([], [], color=color, marker=marker, label=label)
    for label, (color, marker) in styles.items()
  ]
  drawn = figure.legend(
    handles=handles,
    title=textwrap.fill(title, int(_LETTERS * figure.get_figwidth())),
    title_fontsize=10.5,
    alignment='left',
    loc='outside upper left',
    ncols=columns or len(handles),
    frameon=False,
    fontsize=8.5,
    labelcolor=theme.ink,
    handlelength=1.4,
    columnspacing=1.6,
  )
  drawn.get_title().set_color(theme.ink)


def line(ax: Axes, places: Sequence[float], cells: Sequence[Cell], look: tuple[str, str]) -> None:
  """Rates at these places of the horizontal axis, with their bands, in a colour and marker; rates
  that do not stand are left out."""
  color, marker = look
  scored = [(x, c) for x, c in zip(places, cells, strict=True) if c.rate is not None]
  x, rates = [x for x, _ in scored], np.array([c.rate for _, c in scored])
  spread = 2 * np.array([c.se or 0.0 for _, c in scored])
  ax.fill_between(
    x, np.clip(rates - spread, 0, 1), np.clip(rates + spread, 0, 1), color=color, alpha=0.15, lw=0
  )
  ax.plot(x, rates, color=color, marker=marker, markersize=4.5, linewidth=1.6)


def scaling(fit: Mapping[str, Any], theme: Theme = LIGHT) -> Figure:
  """The points of a 'fit' record and, where it was determined, its law: held-out loss against model
  size."""
  figure, ((ax,),) = grid(1, 1, (7.2, 4.4), theme)
  budgets = sorted({p['tokens'] for p in fit['points']})
  for i, tokens in enumerate(budgets):
    points = [p for p in fit['points'] if p['tokens'] == tokens]
    sizes = np.array([p['parameters'] for p in points], dtype=float)
    color, marker = style(i, theme)
    ax.scatter(sizes, [p['loss'] for p in points], s=22, color=color, marker=marker, zorder=3)
    if fit['parameters']:
      n = np.geomspace(sizes.min(), sizes.max(), 100)
      ax.plot(n, _law(fit['parameters'], n, tokens), color=color, linewidth=1.5, zorder=2)
  ax.set_xscale('log')
  ax.set_yscale('log')
  ax.xaxis.set_major_formatter(EngFormatter(sep=''))
  ax.yaxis.set_major_formatter('{x:.3g}')
  ax.yaxis.set_minor_formatter('{x:.3g}')
  ax.grid(color=theme.band, which='both', linewidth=0.8)
  ax.set_xlabel('N, parameters', color=theme.faint, fontsize=9)
  ax.set_ylabel('L, held-out loss in nats a token', color=theme.faint, fontsize=9)
  count = EngFormatter(sep='')
  styles = {f'D = {count(tokens)} tokens': style(i, theme) for i, tokens in enumerate(budgets)}
  legend(figure, f'L = {fit["law"]}', styles, theme)
  return figure


def _law(parameters: Mapping[str, Mapping[str, float]], n: np.ndarray, tokens: float) -> np.ndarray:
  """E + A / N^a, with B / D^b where the law has it."""
  value = {name: p['value'] for name, p in parameters.items()}
  loss = value['E'] + value['A'] / n ** value['a']
  return loss + value['B'] / tokens ** value['b'] if 'B' in value else loss


def svg(figure: Figure) -> bytes:
  """The figure as an SVG file without a date and with names that do not change from run to run."""
  buffer = io.BytesIO()
  with matplotlib.rc_context({'svg.hashsalt': 'whyjax'}):
    figure.savefig(buffer, format='svg', metadata={'Date': None, 'Creator': None})
  return buffer.getvalue()


def png(figure: Figure) -> bytes:
  """The figure as a PNG file without a date, so that equal results give equal bytes."""
  buffer = io.BytesIO()
  figure.savefig(buffer, format='png', dpi=_DPI, metadata={'Software': None})
  return buffer.getvalue()
