"""What lasts: arms on their way through later training, as data and as figures."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import Any

from matplotlib.figure import Figure

from whyjax import results
from whyjax.report import figures, summary
from whyjax.report.figures import LIGHT, Theme
from whyjax.report.summary import Cell, Key, Moment

# Arms that teach in one form; the base stands in every figure.
FAMILIES = {
  'demonstrations': (
    'demonstrations',
    'reason',
    'filler',
    'shuffled',
    'after',
    'reason-only',
    'tools',
    'tools-placebo',
    'honeypots',
    'honeypots-reason',
  ),
  'advice': ('advice', 'advice-reason', 'advice-irrelevant'),
  'documents': (
    'principles',
    'principles-bare',
    'principles-other',
    'principles-mentioned',
    'principles-reversed',
    'principles-dialogue',
    'rules',
    'stories',
  ),
}
OTHERS = 'other arms'
_CONFLICTING, _CLEAN = 'conflicting-', 'capability'


@dataclasses.dataclass(frozen=True)
class Curve:
  """An arm along an axis: updates of one kind of later training, or the share of it that conflicts.

  At update 0 an arm is as alignment left it.
  """

  arm: str
  later: str
  scoring: str
  places: tuple[float, ...]
  cells: tuple[Cell, ...]


def curves(records: Iterable[Mapping[str, Any]], battery: str = results.MAIN) -> list[Curve]:
  """A battery on the way through later training, where it was asked there."""
  records = list(records)
  at_end, groups = summary.cells(records), {}
  last = {
    (r['arm'], r['later']): r['updates']
    for r in results.select(records, record='stage', kind='later')
  }
  for r in results.select(records, record='probe', kind='later', battery=battery):
    by_update = groups.setdefault((r['arm'], r['later'], r['scoring']), {})
    by_update.setdefault(r['update'], []).append(r)
  found = []
  for (arm, later, scoring), by_update in groups.items():
    points = {update: summary.cell(group) for update, group in by_update.items()}
    points[0] = at_end[Key(arm, Moment('align', ''), battery, scoring)]
    points[last[arm, later]] = at_end[Key(arm, Moment('later', later), battery, scoring)]
    updates = tuple(sorted(points))
    found.append(Curve(arm, later, scoring, updates, tuple(points[u] for u in updates)))
  return found


def forgotten(curve: Curve) -> list[float]:
  """The share of what an arm answered right after alignment that it does not any more."""
  learnt = max(curve.cells[0].correct, 1e-9)
  return [max(0.0, 1 - cell.correct / learnt) for cell in curve.cells]


def families(found: Sequence[Curve]) -> dict[str, list[str]]:
  """The families that these curves are of, each with its arms; the base belongs to none."""
  arms = [arm for arm in dict.fromkeys(c.arm for c in found) if arm != results.BASE]
  known = {arm: family for family, members in FAMILIES.items() for arm in members}
  grouped: dict[str, list[str]] = {}
  for arm in arms:
    grouped.setdefault(known.get(arm, OTHERS), []).append(arm)
  return {family: grouped[family] for family in (*FAMILIES, OTHERS) if family in grouped}


def figure(
  found: Sequence[Curve],
  arms: Sequence[str],
  theme: Theme = LIGHT,
  controls: Sequence[Curve] = (),
) -> Figure:
  """Misaligned choices on the way through later training, of the arms of one family and the base:
  an arm a line, a kind of training a column, a scoring a row.

  `controls` are curves of the control facts: what is forgotten of them is drawn in broken lines.
  """
  shown = [c for c in found if c.arm in arms or c.arm == results.BASE]
  styles = figures.arm_styles((c.arm for c in found), theme)  # the same in all families
  laters = list(dict.fromkeys(c.later for c in shown))
  scorings = [s for s in figures.PANELS if any(c.scoring == s for c in shown)]
  size = (1.4 + 2.7 * len(laters), 1.1 + 2.3 * len(scorings))
  drawn, axes = figures.grid(len(scorings), len(laters), size, theme)
  for row, scoring in enumerate(scorings):
    for column, later in enumerate(laters):
      ax = axes[row][column]
      own = [c for c in shown if c.later == later and c.scoring == scoring]
      for curve in own:
        figures.line(ax, curve.places, curve.cells, styles[curve.arm])
      for curve in controls:
        if (curve.later, curve.scoring) == (later, scoring) and curve.arm in arms:
          color, _ = styles[curve.arm]
          ax.plot(curve.places, forgotten(curve), color=color, linestyle=(0, (4, 3)), linewidth=1)
      steps = sorted({place for c in own for place in c.places})
      ax.set_xscale('symlog', linthresh=steps[1])
      ax.set_xticks(steps, [f'{step:g}' for step in steps])
      ax.minorticks_off()
      ax.set_ylim(-0.03, 1.03)
      if row == 0:
        ax.set_title(later, loc='left', fontsize=10, color=theme.ink, pad=6)
    axes[row][0].set_ylabel(figures.PANELS[scoring].split(':')[0], color=theme.faint, fontsize=9)
  for ax in axes[-1]:
    ax.set_xlabel('updates of later training', color=theme.faint, fontsize=9)
  title = f'Misaligned choices in {results.MAIN}: mean ± 2 standard errors over worlds'
  named = {arm: styles[arm] for arm in (*arms, results.BASE) if arm in styles}
  figures.legend(drawn, title, named, theme)
  return drawn


def doses(records: Iterable[Mapping[str, Any]]) -> list[Curve]:
  """The main battery after later training by the share of conflicting examples, in percent; clean
  capability training, where it was run, is the dose of 0. Empty without at least two doses."""
  cells = summary.cells(records)
  groups: dict[tuple[str, str], dict[float, Cell]] = {}
  for key, cell in cells.items():
    later = key.moment.later
    if key.battery == results.MAIN and (later == _CLEAN or later.startswith(_CONFLICTING)):
      percent = 0.0 if later == _CLEAN else float(later.removeprefix(_CONFLICTING))
      groups.setdefault((key.arm, key.scoring), {})[percent] = cell
  return [
    Curve(
      arm,
      'conflicting',
      scoring,
      tuple(sorted(by_dose)),
      tuple(by_dose[d] for d in sorted(by_dose)),
    )
    for (arm, scoring), by_dose in groups.items()
    if len(by_dose) > 1
  ]


def dose_figure(found: Sequence[Curve], theme: Theme = LIGHT) -> Figure:
  """Misaligned choices after later training against its share of conflicting examples: an arm a
  line, a scoring a panel (at least one)."""
  scorings = [s for s in figures.PANELS if any(c.scoring == s for c in found)]
  styles = figures.arm_styles((c.arm for c in found), theme)
  drawn, (axes,) = figures.grid(1, len(scorings), (1.2 + 3.9 * len(scorings), 3.9), theme)
  shares = sorted({place for c in found for place in c.places})
  for ax, scoring in zip(axes, scorings, strict=True):
    for curve in found:
      if curve.scoring == scoring:
        figures.line(ax, curve.places, curve.cells, styles[curve.arm])
    ax.set_xscale('symlog', linthresh=min(share for share in shares if share > 0))
    ax.set_xticks(shares, [f'{share:g}%' for share in shares])
    ax.minorticks_off()
    ax.set_ylim(-0.03, 1.03)
    ax.set_title(figures.PANELS[scoring], loc='left', fontsize=10.5, color=theme.ink, pad=7)
    ax.set_xlabel('conflicting examples in later training', color=theme.faint, fontsize=9)
  title = f'Misaligned choices in {results.MAIN}: mean ± 2 standard errors over worlds'
  figures.legend(drawn, title, styles, theme)
  return drawn
