"""The laws of the loss as figures: against compute, and the best size for a compute."""

from collections.abc import Sequence
from statistics import NormalDist

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from whyjax.report import figures, law_style
from whyjax.report.figures import LIGHT, Theme
from whyjax.report.law_style import BAR
from whyjax.scaling import cells as tables
from whyjax.scaling.estimate import Estimate, student
from whyjax.scaling.isoflop import Level
from whyjax.scaling.laws import Laws


def loss(found: Laws, theme: Theme = LIGHT) -> Figure:
  """Held-out loss against compute: a size a shade, with the law and its band where a line can be
  drawn, and beside the cells that were held out what was predicted of them."""
  figure, ((ax,),) = figures.grid(1, 1, (7.6, 4.9), theme)
  by_size = tables.groups(found.table.losses, lambda c: c.parameters)
  looks = law_style.shades(list(by_size), theme)
  law = found.loss
  drawn = law.fit and not law.fails
  lines = 0
  if drawn and law.fit.axes == ('parameters',):
    lines += _law_line(ax, found, law.cells, theme.faint)
  for size, own in by_size.items():
    colour, marker = looks[size]
    if drawn and 'tokens' in law.fit.axes:
      lines += _law_line(ax, found, own, colour)
    for same in tables.groups(own, lambda c: c.place).values():
      mean, low, high = _mean(same, found.settings.confidence)
      x = np.mean([c.compute for c in same])
      bar = [[mean - low], [high - mean]]
      ax.errorbar(x, mean, yerr=bar, color=colour, marker=marker, zorder=3, **BAR)
  predicted = [
    (place, f)
    for place, f in zip(found.forecast.places, found.forecast.findings, strict=True)
    if isinstance(f, Estimate)
  ]
  for i, (place, f) in enumerate(predicted):
    colour = looks.get(place.parameters, (theme.ink, ''))[0]
    ends = [[f.value - f.low], [f.high - f.value]]
    ax.errorbar(
      place.compute * 1.13 * 1.1**i, f.value, yerr=ends, color=colour, marker='_', zorder=4,
      **BAR | {'capsize': 3.5, 'markersize': 8, 'linewidth': 1.1},
    )  # fmt: skip
  law_style.log_x(ax, 'C, FLOPs of pretraining', theme)
  law_style.log_losses(ax, 'L, held-out loss in nats a token', theme)
  styles = {f'N = {law_style.count(size)}': look for size, look in looks.items()}
  if predicted:
    styles['predicted before it was seen'] = (theme.ink, '_')
  worlds = len({c.world for c in found.table.losses})
  title = f'Held-out loss: {law_style.percent(found)} intervals over worlds'
  if worlds == 1:
    title = 'Held-out loss of one world: no interval of single cells'
  if not law.fit:
    title += '; no law'
  elif lines:
    title += f'; lines: L = {law.formula}'
  else:
    why = 'no size has two places' if drawn else 'it misses its cells'
    title += f'; the law is not drawn: {why}'
  figures.legend(figure, title, styles, theme, columns=4)
  return figure


def _mean(cells: Sequence[tables.Cell], confidence: float) -> tuple[float, float, float]:
  """(geometric mean of the loss over worlds, ends of its interval by Student's t)."""
  logs = [
    np.mean(np.log([c.loss for c in own]))
    for own in tables.groups(cells, lambda c: c.world).values()
  ]
  mean, away = float(np.mean(logs)), 0.0
  if len(logs) > 1:
    error = np.std(logs, ddof=1) / np.sqrt(len(logs))
    normal = NormalDist().inv_cdf((1 + confidence) / 2)
    away = float(error) * normal * student(len(logs) - 1, confidence)
  return tuple(np.exp([mean, mean - away, mean + away]).tolist())


def _law_line(ax: Axes, found: Laws, cells: Sequence[tables.Cell], colour: str) -> bool:
  """Draws the law over the places of these cells that it was fitted to, of one size or of one
  budget of text, with its band; whether there are two for a line."""
  fit, known = found.loss.fit, {c.place for c in found.loss.cells}
  places = {c.place: (*c.place, c.compute) for c in cells if c.place in known}
  if len(places) < 2:
    return False
  # Head and attention make compute not quite proportional to parameters and tokens.
  logs = np.log(sorted(places.values(), key=lambda p: p[2]))
  compute = np.linspace(*logs[[0, -1], 2], 60)
  parameters, tokens = (np.exp(np.interp(compute, logs[:, 2], own)) for own in logs[:, :2].T)
  columns, compute = {'parameters': parameters, 'tokens': tokens}, np.exp(compute)
  value, samples = fit.log_loss(np.stack([columns[axis] for axis in fit.axes], axis=1))
  tails = [(1 - found.settings.confidence) / 2, (1 + found.settings.confidence) / 2]
  low, high = np.exp(np.quantile(samples, tails, axis=0))
  ax.fill_between(compute, low, high, color=colour, alpha=0.2, linewidth=0)
  ax.plot(compute, np.exp(value), color=colour, linewidth=1.5)
  return True


def isoflop(found: Laws, theme: Theme = LIGHT) -> Figure:
  """Loss against size at each compute, with the minima; and the best size against compute."""
  figure, (axes,) = figures.grid(1, 2, (9.8, 4.5), theme)
  levels = found.isoflop.levels
  looks = law_style.shades([level.compute for level in levels], theme)
  for level in levels:
    _level(axes, level, looks[level.compute], theme)
  growth = found.isoflop.exponent
  standing = [level for level in levels if isinstance(level.best, Estimate)]
  grows = 'The minimum against compute C'
  if isinstance(growth, Estimate):
    x = np.log([level.compute for level in standing])
    y = np.log([level.best.value for level in standing])
    ends = x[[0, -1]]
    line = np.exp(y.mean() + growth.value * (ends - x.mean()))
    axes[1].plot(np.exp(ends), line, color=theme.faint, linewidth=1.2, zorder=1)
    grows = f'The minimum: N ~ C^g, g = {law_style.said(growth)}'
  law_style.log_x(axes[0], 'N, parameters', theme)
  law_style.log_losses(axes[0], 'held-out loss in nats a token', theme)
  law_style.log_x(axes[1], 'C, FLOPs of pretraining', theme)
  law_style.log_counts(axes[1], 'N at the minimum', theme)
  axes[1].margins(0.1)
  if not standing:  # an empty frame with made-up ticks would look like a fault
    axes[1].set(xticks=[], yticks=[])
    axes[1].minorticks_off()
    where = dict(ha='center', va='center', transform=axes[1].transAxes)
    axes[1].text(0.5, 0.5, 'no minimum among the sizes tried', color=theme.faint, **where)
  law_style.title(axes[0], 'Loss at equal compute; black: where the minimum lies', theme)
  law_style.title(axes[1], grows, theme)
  styles = {f'C = {law_style.flops(at)}': look for at, look in looks.items()}
  title = f'The best size for a compute: {law_style.percent(found)} intervals'
  figures.legend(figure, title, styles, theme, columns=6)
  return figure


def _level(axes: Sequence[Axes], level: Level, look: law_style.Look, theme: Theme) -> None:
  """One level: its losses and curve, and its minimum where it stands."""
  colour, marker = look
  axes[0].plot(level.sizes, level.losses, color=colour, marker=marker, ms=5, ls='none', zorder=3)
  if not level.curve:
    return

  def curve(n):
    return np.exp(np.polyval(level.curve[::-1], np.log(n) - level.centre))

  at, low, high = np.transpose(level.band)
  axes[0].fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
  n = np.geomspace(level.sizes[0], level.sizes[-1], 100)
  axes[0].plot(n, curve(n), color=colour, linewidth=1.5)
  if isinstance(level.best, Estimate):
    at = curve(level.best.value)
    axes[0].plot([level.best.low, level.best.high], [at, at], color=theme.ink, lw=2.6, zorder=4)
    law_style.points(axes[1], [(level.compute, level.best)], look)
