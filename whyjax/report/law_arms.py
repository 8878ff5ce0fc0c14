"""The laws of misalignment as figures: arms against compute and against alignment tokens, their
differences, and the ratio of tokens that they need."""

from collections.abc import Collection, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
import numpy as np

from whyjax.report import figures, law_style
from whyjax.report.figures import LIGHT, Theme
from whyjax.scaling import cells as tables
from whyjax.scaling import logistic, slope
from whyjax.scaling.dose_law import DoseLaw
from whyjax.scaling.estimate import Estimate
from whyjax.scaling.laws import Laws
from whyjax.scaling.ratio import Advantage, Ratio

_COLUMNS = 3  # panels in a row


def misalignment(found: Laws, theme: Theme = LIGHT) -> Figure:
  """Misaligned share at the largest dose against compute of pretraining: a size a panel, an arm a
  line."""
  at = {c.place: c.compute for c in found.table.rates}
  rated = [law for law in found.doses if law.doses[-1] and isinstance(law.rates[-1], Estimate)]
  sizes = sorted({law.place[0] for law in found.doses})
  figure, axes = _panels(len(sizes), 2.4, theme)
  styles = figures.arm_styles((law.arm for law in found.doses), theme)
  for i, (ax, size) in enumerate(zip(axes, sizes, strict=True)):
    for j, (arm, look) in enumerate(styles.items()):
      top = max((law.doses[-1] for law in rated if law.arm == arm), default=0)
      own = [
        law
        for law in rated
        if (law.place[0], law.arm) == (size, arm)
        and top <= tables.SAME_DOSE * law.doses[-1]  # a smaller one is no largest dose
      ]
      own.sort(key=lambda law: at[law.place])
      shift = law_style.beside(j, len(styles), 0.06)
      pairs = [(at[law.place] * shift, law.rates[-1]) for law in own]
      law_style.points(ax, pairs, look, joined=True)
    ax.set_xlim(min(at.values()) / 1.4, max(at.values()) * 1.4)
    law_style.log_x(ax, 'C, FLOPs of pretraining', theme)
    law_style.shares(ax, 'share of misaligned choices' if i % _COLUMNS == 0 else '', theme)
    law_style.title(ax, f'N = {law_style.count(size)}', theme)
  title = f'{law_style.about(found)} at the largest dose: {law_style.percent(found)} intervals'
  figures.legend(figure, title, styles, theme, columns=6)
  return figure


def _panels(count: int, height: float, theme: Theme) -> tuple[Figure, list[Axes]]:
  """So many panels in rows, and none in sight beyond them; height in inches."""
  columns = min(count, _COLUMNS)
  rows = -(-count // columns)
  figure, grid = figures.grid(rows, columns, (1.0 + 3.4 * columns, 1.1 + height * rows), theme)
  axes = [ax for row in grid for ax in row]
  for ax in axes[count:]:
    ax.set_visible(False)
  return figure, axes[:count]


def doses(found: Laws, theme: Theme = LIGHT) -> Figure:
  """Misaligned share against alignment tokens: a size a panel, an arm a colour, with its curve."""
  places = sorted({law.place for law in found.doses})
  figure, axes = _panels(len(places), 2.9, theme)
  styles = figures.arm_styles((law.arm for law in found.doses), theme)
  given = [dose for law in found.doses for dose in law.given]
  for i, (ax, place) in enumerate(zip(axes, places, strict=True)):
    for law in found.doses:
      if law.place == place:
        shift = law_style.beside(list(styles).index(law.arm), len(styles))
        _dose_curve(ax, law, found, styles[law.arm], min(given), shift)
    law_style.log_x(ax, 'A, alignment tokens that bear loss', theme)
    law_style.shares(ax, 'share of misaligned choices' if i % _COLUMNS == 0 else '', theme)
    _none_tick(ax, min(given), max(given))
    counts = f'N = {law_style.count(place[0])}, D = {law_style.count(place[1])}'
    law_style.title(ax, counts, theme)
  title = f'{law_style.about(found)}: {law_style.percent(found)} intervals over worlds'
  figures.legend(figure, title, styles, theme, columns=6)
  return figure


def _dose_curve(
  ax: Axes, law: DoseLaw, found: Laws, look: law_style.Look, smallest: float, shift: float
) -> None:
  """One arm at one place: rates with intervals, and the curve where there is one."""
  rates = [
    (shift * (dose or smallest / 4), rate)
    for dose, rate in zip(law.doses, law.rates, strict=True)
    if isinstance(rate, Estimate)
  ]
  law_style.points(ax, rates, look)
  if law.theta is None or law.fails:
    return
  x = np.log(np.geomspace(law.given[0], law.doses[-1], 80))
  curves = logistic.curve(law.theta, x)
  drawn = found.draws.among(len(law.worlds))
  ends = [drawn.interval(column) for column in curves.T]
  low, high = np.clip([[e.low for e in ends], [e.high for e in ends]], 0, 1)
  ax.fill_between(np.exp(x), low, high, color=look[0], alpha=0.15, linewidth=0)
  ax.plot(np.exp(x), curves[0], color=look[0], linewidth=1.5)


def _none_tick(ax: Axes, smallest: float, largest: float) -> None:
  """Ticks at decades of the doses, and one for no alignment at all, left of a gap."""
  decades = 10.0 ** np.arange(np.ceil(np.log10(smallest)), np.floor(np.log10(largest)) + 1)
  shown = decades if len(decades) > 1 else np.array([smallest, largest])
  ax.set_xticks([smallest / 4, *shown], ['none', *map(law_style.count, shown)])
  ax.xaxis.set_minor_locator(NullLocator())
  ax.axvline(smallest / 2, color=ax.spines['left'].get_edgecolor(), linewidth=0.6, ls=(0, (2, 3)))


def advantage(found: Laws, theme: Theme = LIGHT) -> Figure:
  """One arm less another, a pair a row: at the largest dose against size, a budget of pretraining a
  shade; and at the largest budget of each size against alignment tokens, a size a shade."""
  pairs = list(dict.fromkeys((a.treatment, a.control) for a in found.advantages))
  inches = (10.2, 0.8 + 3.9 * len(pairs))
  figure, grid = figures.grid(len(pairs), 2, inches, theme)
  for (left, right), pair in zip(grid, pairs, strict=True):
    own = [a for a in found.advantages if (a.treatment, a.control) == pair]
    places = {a.place for a in own}
    top = max(a.dose for a in own)
    full = {a.place: a for a in own if top <= tables.SAME_DOSE * a.dose}
    longest = sorted(max(p for p in places if p[0] == size) for size in {p[0] for p in places})
    budgets = _budgets(found, places)
    _lines(
      left,
      {n: [full[p] for p in b if p in full] for n, b in budgets.items()},
      lambda a: a.place[0],
      theme,
    )
    by_size = {f'N = {law_style.count(p[0])}': [a for a in own if a.place == p] for p in longest}
    _lines(right, by_size, lambda a: a.dose, theme)
    law_style.log_x(left, 'N, parameters', theme)
    law_style.log_x(right, 'A, alignment tokens that bear loss', theme)
    left.set_ylabel('difference of misaligned shares', color=theme.faint, fontsize=9)
    ends = [v for a in own for v in (a.difference.low, a.difference.high, 0.0)]
    for ax, at in ((left, 'the largest A'), (right, 'the largest D of each N')):
      ax.set_ylim(min(ends) - 0.04, max(ends) + 0.04)
      law_style.title(ax, f'{" less ".join(pair)}, at {at}', theme)
  title = (
    f'{law_style.about(found)}, below 0 the first does better: {law_style.percent(found)} intervals'
  )
  figures.legend(figure, title, {}, theme, columns=1)
  return figure


def _budgets(found: Laws, places: Collection[tuple[int, int]]) -> dict[str, list[tuple[int, int]]]:
  """Places by budget of pretraining: by D where sizes share theirs, else by level of compute."""
  tokens = sorted({d for _, d in places})
  if len(tokens) == 1 or len(tokens) < len(places):
    return {f'D = {law_style.count(d)}': sorted(p for p in places if p[1] == d) for d in tokens}
  cells = [c for c in found.table.rates if c.place in places]
  levels = tables.levels(cells, found.settings.same_compute)
  return {f'C = {law_style.flops(g[0].compute)}': sorted({c.place for c in g}) for g in levels}


def _lines(ax: Axes, groups: Mapping[str, Sequence[Advantage]], at, theme: Theme) -> None:
  """A line a group, in shades, with intervals side by side."""
  looks = law_style.shades(range(len(groups)), theme)
  for i, group in enumerate(groups.values()):
    shift = law_style.beside(i, len(groups))
    found = sorted(((at(a) * shift, a.difference) for a in group), key=lambda pair: pair[0])
    law_style.points(ax, found, looks[i], joined=True)
  ax.axhline(0, color=theme.faint, linewidth=0.8, zorder=1)
  law_style.panel_legend(ax, dict(zip(groups, looks.values(), strict=True)), theme)


def ratio(found: Laws, theme: Theme = LIGHT) -> Figure:
  """Tokens that one arm needs over those that another needs, against size, with the slope."""
  figure, ((ax,),) = figures.grid(1, 1, (7.0, 4.5), theme)
  pairs = list(dict.fromkeys((r.treatment, r.control) for r in found.ratios))
  styles: dict[str, law_style.Look] = {}
  for i, pair in enumerate(pairs):
    look = figures.style(i, theme)
    own = [r for r in found.ratios if (r.treatment, r.control) == pair and r.samples is not None]
    for group in tables.groups(own, lambda r: r.place[0]).values():  # budgets of one size
      for j, r in enumerate(group):
        shift = law_style.beside(i, len(pairs), 0.07) * law_style.beside(j, len(group), 0.02)
        law_style.points(ax, [(r.place[0] * shift, _power(r.log_ratio))], look)
    growth, label = found.slopes[pair], ' / '.join(pair)
    if isinstance(growth, Estimate):
      _slope_line(ax, own, found, look[0])
      label += f': log10 moves by {law_style.said(growth)} for every factor 10 of N at equal D'
    styles[label] = look
  ax.axhline(1, color=theme.faint, linewidth=0.8, zorder=1)
  ax.margins(0.1)
  law_style.log_x(ax, 'N, parameters', theme)
  law_style.log_counts(ax, 'ratio of alignment tokens', theme)
  title = f'Alignment tokens needed at a matched rate: {law_style.percent(found)} intervals'
  figures.legend(figure, title, styles, theme, columns=1)
  return figure


def _power(found: Estimate) -> Estimate:
  return Estimate(*(10.0**v for v in (found.value, found.low, found.high)))


def _slope_line(ax: Axes, ratios: Sequence[Ratio], found: Laws, colour: str) -> None:
  """The line through log ratios against log N, at the mean log D, with its band."""
  x = np.log10([r.place[0] for r in ratios])
  mean = np.mean([r.samples for r in ratios], axis=0)
  at = np.linspace(x.min(), x.max(), 40)
  lines = mean + (at[:, None] - x.mean()) * slope.samples(ratios)
  drawn = found.draws.among(min(r.worlds for r in ratios))
  ends = [drawn.interval(line) for line in lines]
  low, high = (10.0 ** np.array([getattr(e, side) for e in ends]) for side in ('low', 'high'))
  ax.fill_between(10**at, low, high, color=colour, alpha=0.13, linewidth=0)
  ax.plot(10**at, 10 ** lines[:, 0], color=colour, linewidth=1.3)
