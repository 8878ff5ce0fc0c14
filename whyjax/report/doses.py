"""Doses of alignment text: what each arm does with how much of it, as data and as a figure."""

from collections.abc import Sequence
import dataclasses

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
import numpy as np

from whyjax import results
from whyjax.report import figures, summary
from whyjax.report.figures import LIGHT, Theme
from whyjax.report.markup import Records
from whyjax.report.summary import Cell


@dataclasses.dataclass(frozen=True)
class DoseCurve:
  """An arm at each of its doses, smallest first: supervised tokens (mean over replicas), and the
  main battery."""

  arm: str
  scoring: str
  tokens: tuple[float, ...]
  cells: tuple[Cell, ...]


def curves(records: Records) -> list[DoseCurve]:
  """The dose curves of a study, the full dose included; empty without doses."""
  smaller = results.select(records, record='stage', kind='dose')
  found = []
  for arm in dict.fromkeys(stage['arm'] for stage in smaller):
    stages = [
      *results.select(smaller, arm=arm),
      *results.select(records, record='stage', kind='align', arm=arm),
    ]
    stages = sorted(stages, key=lambda stage: sum(stage['supervised_tokens']))
    tokens = tuple(float(np.mean(stage['supervised_tokens'])) for stage in stages)
    asked = results.select(records, record='eval', arm=arm, battery=results.MAIN)
    for scoring in ('forced', 'greedy'):
      groups = [results.select(asked, stage=s['stage'], scoring=scoring) for s in stages]
      if all(groups):
        cells = tuple(summary.cell(_in_order(group)) for group in groups)
        found.append(DoseCurve(arm, scoring, tokens, cells))
  return found


def _in_order(group: Records) -> Records:
  return sorted(group, key=lambda r: (r['world'], r['seed']))


def matched(records: Records) -> dict[str, list[float]]:
  """For each scoring, the rates at which claims compare tokens: means over worlds."""
  found: dict[str, list[float]] = {}
  for verdict in results.select(records, record='verdict', measure='efficiency'):
    if rates := verdict.get('matched_rates'):
      lines = found.setdefault(verdict['scoring'], [])
      lines += [rate for rate in [float(np.mean(rates))] if rate not in lines]
  return found


def figure(
  found: Sequence[DoseCurve], rates: dict[str, list[float]], theme: Theme = LIGHT
) -> Figure:
  """Misaligned choices against alignment tokens: an arm a line, a scoring a panel (at least one).

  `rates` (of `matched`) are drawn as thin lines.
  """
  scorings = list(dict.fromkeys(curve.scoring for curve in found))
  styles = figures.arm_styles((curve.arm for curve in found), theme)
  drawn, (axes,) = figures.grid(1, len(scorings), (1.2 + 3.9 * len(scorings), 3.9), theme)
  for ax, scoring in zip(axes, scorings, strict=True):
    for rate in rates.get(scoring, ()):
      ax.axhline(rate, color=theme.faint, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    for curve in found:
      if curve.scoring == scoring:
        figures.line(ax, curve.tokens, curve.cells, styles[curve.arm])
    _axes(ax, [t for curve in found for t in curve.tokens], theme)
    ax.set_title(figures.PANELS[scoring], loc='left', fontsize=10.5, color=theme.ink, pad=7)
  title = f'Misaligned choices in {results.MAIN}: mean ± 2 standard errors over worlds'
  figures.legend(drawn, title, styles, theme)
  return drawn


def _axes(ax: Axes, tokens: Sequence[float], theme: Theme) -> None:
  """A logarithmic axis with a tick at every dose; arms differ by less than an example in each."""
  ax.set_xscale('log')
  ticks: list[float] = []
  for t in sorted(tokens):
    if not ticks or t > 1.5 * ticks[-1]:  # labels of nearer ones would overlap
      ticks.append(t)
  ax.set_xticks(ticks, [f'{t / 1e3:.2g}k' if t >= 1e3 else f'{t:.0f}' for t in ticks])
  ax.xaxis.set_minor_locator(NullLocator())
  ax.set_ylim(-0.03, 1.03)
  ax.set_xlabel('alignment tokens that bear loss', color=theme.faint, fontsize=9)
