"""The phase diagram as a figure, as tables of the page and on the console, from 'phase' and
'boundary' records."""

from collections.abc import Mapping, Sequence
import dataclasses
import re
from typing import Any, NamedTuple

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from whyjax import results
from whyjax.report import figures, summary
from whyjax.report.figures import Theme
from whyjax.report.markup import Records, escape, section, table

# Decision -> sign in a cell; what no effect was computed or decided for gets REFUSED.
SIGNS = {
  'why helps': '\N{BLACK UP-POINTING TRIANGLE}',
  'demonstrations suffice': '=',
  'neither helps': '\N{WHITE CIRCLE}',
  'why hurts': '\N{BLACK DOWN-POINTING TRIANGLE}',
  'undecided': '?',
}
REFUSED = '\N{EMPTY SET}'
_STYLES = {
  'why helps': 'bold green',
  'demonstrations suffice': 'bold cyan',
  'why hurts': 'bold red',
  'undecided': 'yellow',
}
_LEAST_SPAN = 0.3  # of the colours to either side of 0: noise must not look like an effect
_CELL = (1.12, 0.72)  # inches
_KEY = (
  'Each cell compares an arm that teaches why with demonstrations of the same breadth in the same '
  'world; both have read as much. The advantage is the difference in misaligned choices in '
  f'{results.MAIN}, paired by replica and item: negative where why helps. Decisions are of one '
  'cell alone, not corrected for their number: read regions. The boundary is the breadth (domains '
  'x value pairs) from which on, up to the widest, why helps by no more than the smallest effect '
  'on average.'
)


class Panel(NamedTuple):
  """An arm and a scoring: one map."""

  treatment: str
  scoring: str


@dataclasses.dataclass(frozen=True)
class Map:
  """One panel.

  Attributes:
    shares, breadths: of the axes, ascending.
    cells: 'phase' records by (share, breadth).
    boundaries: 'boundary' records by share.
  """

  panel: Panel
  shares: tuple[float, ...]
  breadths: tuple[str, ...]
  cells: Mapping[tuple[float, str], Mapping[str, Any]]
  boundaries: Mapping[float, Mapping[str, Any]]


def maps(records: Records) -> list[Map]:
  """All panels, an arm after the other; none without 'phase' records."""
  cells = results.select(records, record='phase')
  shares = sorted({c['principled'] for c in cells})
  sizes = {c['breadth']: _size(c) for c in cells}
  breadths = sorted(sizes, key=sizes.get)
  found = []
  for panel in dict.fromkeys(Panel(c['treatment'], c['scoring']) for c in cells):
    own = panel._asdict()
    found.append(
      Map(
        panel,
        tuple(shares),
        tuple(breadths),
        {(c['principled'], c['breadth']): c for c in results.select(cells, **own)},
        {b['principled']: b for b in results.select(records, record='boundary', **own)},
      )
    )
  return found


def _size(cell: Mapping[str, Any]) -> int:
  """Where a cell lies on the axis of breadth."""
  return cell['domains'] * cell['value_pairs']


def _sign(cell: Mapping[str, Any]) -> str:
  return SIGNS.get(cell['decision'], REFUSED)


def _percent(share: float) -> str:
  return f'{100 * share:g}%'


def _interval(low: float, high: float) -> str:
  return f'[{summary.signed(low)}, {summary.signed(high)}]'


def _ends(record: Mapping[str, Any]) -> tuple[str, str]:
  """A boundary and its interval in words: a breadth, or the side of the grid that it lies on."""
  if record['why']:
    return 'none', record['why']
  values = (record['at'], record['low'], record['high'])
  at, low, high = (
    place if value is None else f'{value:.1f}'
    for value, place in zip(values, record['places'], strict=True)
  )
  # An interval that lies wholly on one side has no width to speak of.
  return at, f'[{low}, {high}]' if low != high else 'so is all of the interval'


# The figure.


def figure(found: Sequence[Map], theme: Theme = figures.LIGHT) -> Figure:
  """Heat maps: an arm a row of panels, a scoring a column (at least one of either)."""
  treatments = list(dict.fromkeys(m.panel.treatment for m in found))
  scorings = list(dict.fromkeys(m.panel.scoring for m in found))
  wide, tall = len(found[0].shares), len(found[0].breadths)
  inches = (
    1.6 + len(scorings) * (0.5 + _CELL[0] * wide),
    1.5 + len(treatments) * (0.75 + _CELL[1] * tall),
  )
  drawn = Figure(figsize=inches, layout='constrained', facecolor=theme.paper)
  axes = drawn.subplots(len(treatments), len(scorings), squeeze=False)
  colours = _colours(found, theme)
  for m in found:
    ax = axes[treatments.index(m.panel.treatment), scorings.index(m.panel.scoring)]
    _map(ax, m, colours, theme)
  control = next(iter(found[0].cells.values()))['control']
  bar = drawn.colorbar(colours, ax=axes, shrink=0.7, aspect=30, pad=0.02)
  bar.outline.set_visible(False)
  bar.ax.tick_params(colors=theme.faint, labelsize=8.5, length=3)
  label = f'advantage over {control}: difference in misaligned choices'
  bar.set_label(label, color=theme.faint, fontsize=9)
  _legend(drawn, found, theme)
  return drawn


def _colours(found: Sequence[Map], theme: Theme) -> ScalarMappable:
  """Blue where why helps, orange where it hurts, one scale for all panels."""
  sizes = [abs(c['advantage']) for m in found for c in m.cells.values() if c['advantage']]
  span = max(_LEAST_SPAN, *sizes) if sizes else _LEAST_SPAN
  blue, orange = theme.series[:2]
  scale = LinearSegmentedColormap.from_list('advantage', [blue, theme.band, orange])
  return ScalarMappable(Normalize(-span, span), scale)


def _map(ax: Axes, m: Map, colours: ScalarMappable, theme: Theme) -> None:
  """One panel: cells, what stands in them, and the boundary."""
  ax.set_facecolor(theme.paper)
  ax.spines[:].set_visible(False)
  ax.tick_params(colors=theme.faint, labelsize=8.5, length=0)
  for column, share in enumerate(m.shares):
    for row, breadth in enumerate(m.breadths):
      if cell := m.cells.get((share, breadth)):
        _draw_cell(ax, column, row, cell, colours, theme)
  _draw_boundary(ax, m, theme)
  ax.set_xlim(-0.5, len(m.shares) - 0.5)
  ax.set_ylim(-0.62, len(m.breadths) - 0.38)  # room for marks beyond the grid
  ax.set_xticks(range(len(m.shares)), [_percent(share) for share in m.shares])
  ax.set_yticks(range(len(m.breadths)), m.breadths)
  ax.set_xlabel('principled agents in pretraining', color=theme.faint, fontsize=9)
  ax.set_ylabel('domains x value pairs shown', color=theme.faint, fontsize=9)
  scoring = summary.SCORINGS.get(m.panel.scoring, m.panel.scoring)
  title = f'{m.panel.treatment}, {scoring}'
  ax.set_title(title, loc='left', fontsize=10.5, color=theme.ink, pad=7)


def _draw_cell(
  ax: Axes, column: int, row: int, cell: Mapping[str, Any], colours: ScalarMappable, theme: Theme
) -> None:
  advantage = cell['advantage']
  colour = theme.band if advantage is None else colours.to_rgba(advantage)[:3]
  corner, edge = (column - 0.48, row - 0.47), {'facecolor': colour, 'linewidth': 0}
  patch = {'hatch': '////', 'edgecolor': theme.faint} if advantage is None else {}
  ax.add_patch(Rectangle(corner, 0.96, 0.94, zorder=1, **edge | patch))
  # A rim in the colour of the cell keeps the text apart from a boundary behind it.
  rim = [patheffects.withStroke(linewidth=3, foreground=to_hex(colour))]
  centre = {'ha': 'center', 'color': _readable(colour), 'zorder': 4, 'path_effects': rim}
  if advantage is None:
    ax.text(column, row + 0.12, REFUSED, va='center', fontsize=11, **centre)
    ax.text(column, row - 0.22, cell['decision'], va='center', fontsize=7, **centre)
    return
  first = f'{_sign(cell)}  {summary.signed(advantage)}'
  ax.text(column, row + 0.13, first, va='center', fontsize=10.5, weight='bold', **centre)
  interval = _interval(cell['low'], cell['high'])
  ax.text(column, row - 0.22, interval, va='center', fontsize=7, **centre)


def _readable(colour: Any) -> str:
  """Black or white, whichever stands out more (relative luminance as WCAG 2 has it)."""
  channels = np.array(to_rgb(colour))
  linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
  luminance = linear @ [0.2126, 0.7152, 0.0722]
  return '#000000' if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else '#ffffff'


def _draw_boundary(ax: Axes, m: Map, theme: Theme) -> None:
  """The boundaries of all shares as steps, with their intervals; a mark at the edge of the grid
  where one lies beyond it."""
  edges = {'below the smallest breadth': -0.5, 'beyond the largest breadth': len(m.breadths) - 0.5}
  some = next(iter(m.cells.values()))['principled']
  sizes = [_size(m.cells[some, breadth]) for breadth in m.breadths]
  points = np.full((len(m.shares), 3), np.nan)
  for column, share in enumerate(m.shares):
    record = m.boundaries.get(share)
    if record and not record['why']:
      values = (record['at'], record['low'], record['high'])
      points[column] = [
        edges[place] if value is None else np.interp(value, sizes, range(len(sizes)))
        for value, place in zip(values, record['places'], strict=True)
      ]
  columns, (at, low, high) = np.arange(len(m.shares)), points.T
  # Steps: nothing is known between two shares.
  x, y = np.add.outer(columns, [-0.5, 0.5]).ravel(), np.repeat(at, 2)
  for colour, wide, narrow in ((theme.paper, 4.2, 3.4), (theme.ink, 2.0, 1.2)):
    ax.plot(x, y, color=colour, linewidth=wide, zorder=2)
    ax.vlines(columns + 0.42, low, high, color=colour, linewidth=narrow, zorder=2)
  for marker, edge in zip('v^', sorted(edges.values()), strict=True):
    there = at == edge
    ax.scatter(columns[there], at[there], marker=marker, s=46, color=theme.ink, zorder=5)


def _legend(drawn: Figure, found: Sequence[Map], theme: Theme) -> None:
  """What the signs that occur and the line mean, above the panels."""
  decisions = dict.fromkeys(c['decision'] for m in found for c in m.cells.values())
  known = [d for d in SIGNS if d in decisions] + [d for d in decisions if d not in SIGNS]
  handles = [Line2D([], [], color='none', label=f'{SIGNS.get(d, REFUSED)}  {d}') for d in known]
  label = 'boundary, with interval (at the edge: off the grid)'
  handles.append(Line2D([], [], color=theme.ink, linewidth=2, label=label))
  legend = drawn.legend(
    handles=handles,
    title='Advantage of teaching why, with intervals; above the line why helps little or not',
    title_fontsize=10.5,
    alignment='left',
    loc='outside upper left',
    ncols=3,
    frameon=False,
    fontsize=8.5,
    labelcolor=theme.ink,
    handlelength=1.4,
    columnspacing=1.6,
  )
  legend.get_title().set_color(theme.ink)


def alt(found: Sequence[Map]) -> str:
  """What the figure shows, for those who can't see it."""
  decisions = [c['decision'] for m in found for c in m.cells.values()]
  counts = ', '.join(f'{d}: {decisions.count(d)}' for d in dict.fromkeys(decisions))
  return (
    'Heat maps of the advantage of teaching why by share of principled agents and breadth of '
    f'alignment text. Cells: {counts}.'
  )


# The page.


def tables(records: Records) -> str:
  """Boundaries, worlds and cells as tables of the page; empty without 'phase' records."""
  found = maps(records)
  if not found:
    return ''
  cells = [c for m in found for c in m.cells.values()]
  boundaries = [
    (m.panel.treatment, _scoring(m), _percent(share), *_ends(b))
    for m in found
    for share, b in m.boundaries.items()
  ]
  body = '<h3>Boundaries</h3>'
  body += table(('arm', 'scoring', 'principled', 'breadth', 'interval'), boundaries)
  body += '<h3>What was pretrained</h3>' + table(_WORLD_HEADS, _worlds(records))
  rates = ('misaligned', cells[0]['control'], results.BASE)
  heads = ('arm', 'scoring', 'principled', 'breadth', 'decision', 'advantage [interval]', *rates)
  every = table((*heads, 'because'), map(_row, cells))
  body += f'<details><summary>{len(cells)} cells</summary>{every}</details>'
  return section('Phase diagram', body, escape(_KEY))


_WORLD_HEADS = (
  'principled',
  'misaligned, forced',
  'misaligned, free-running',
  'acts against a given reason',
  'facts known',
)


def _worlds(records: Records) -> list[tuple[str, ...]]:
  """What the pretrained models of each share do, before any alignment."""
  evals = [e for e in results.select(records, record='eval', kind='pretrain') if 'principled' in e]
  asked = (
    (results.MAIN, 'forced', 'misaligned'),
    (results.MAIN, 'greedy', 'misaligned'),
    ('acts-on-reasons', 'greedy', 'misaligned'),
    ('facts', 'forced', 'aligned'),
  )
  rows = []
  for share in dict.fromkeys(e['principled'] for e in evals):
    row = [_percent(share)]
    for battery, scoring, outcome in asked:
      run = results.select(evals, principled=share, battery=battery, scoring=scoring)
      rates = [e[outcome] / e['n'] for e in run if e['scored']]
      row.append(f'{np.mean(rates):.2f}' if rates else '-')
    rows.append(tuple(row))
  return rows


def _scoring(m: Map) -> str:
  return summary.SCORINGS.get(m.panel.scoring, m.panel.scoring)


def _row(c: Mapping[str, Any]) -> tuple[str, ...]:
  """A cell as a row of the page's table."""
  rates = [c['treatment_rate'], c['control_rate'], c['generic_rate']]
  return (
    c['treatment'],
    summary.SCORINGS.get(c['scoring'], c['scoring']),
    _percent(c['principled']),
    c['breadth'],
    f'{_sign(c)} {c["decision"]}',
    summary.effect({**c, 'effect': c['advantage'], 'measure': 'rate'}),
    *('not scored' if rate is None else f'{rate:.2f}' for rate in rates),
    c['why'],
  )


# The console.


def console(records: Records) -> Group:
  """A map a table: breadths down, shares across, and the boundaries below."""
  shown: list[Any] = []
  for m in maps(records):
    title = f'Advantage of {m.panel.treatment}, {_scoring(m)} (negative: why helps)'
    grid = Table(title=title, title_justify='left')
    grid.add_column('breadth', no_wrap=True)
    for share in m.shares:
      grid.add_column(_percent(share), justify='right')
    for breadth in reversed(m.breadths):
      grid.add_row(breadth, *(_console_cell(m.cells.get((share, breadth))) for share in m.shares))
    grid.add_section()
    grid.add_row('boundary', *(_console_boundary(m.boundaries.get(share)) for share in m.shares))
    shown.append(grid)
  signs = ', '.join(f'{sign} {decision}' for decision, sign in SIGNS.items())
  note = (
    f'{signs}, {REFUSED} no decision. Boundary: domains x value pairs from which on why helps '
    'little or not; below: less than the smallest breadth, beyond: more than the largest.'
  )
  return Group(*shown, Text(note, style='dim'))


def _console_cell(c: Mapping[str, Any] | None) -> Text:
  if c is None:
    return Text('-', style='dim')
  style = _STYLES.get(c['decision'], 'dim')
  if c['advantage'] is None:
    return Text(f'{REFUSED} {c["decision"]}', style='bold magenta')
  text = Text(f'{_sign(c)} {summary.signed(c["advantage"])}', style=style)
  return text.append(f'\n{_interval(c["low"], c["high"])}', style='dim')


def _console_boundary(record: Mapping[str, Any] | None) -> Text:
  if record is None or record['why']:
    return Text('none', style='dim')
  at, interval = _ends(record)
  if not interval.startswith('['):
    interval = ''
  at, interval = (
    re.sub(r'(below|beyond) the \w+ breadth', r'\1', words) for words in (at, interval)
  )
  return Text(at, style='bold').append(f'\n{interval}', style='dim')
