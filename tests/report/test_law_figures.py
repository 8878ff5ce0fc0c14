"""Figures of scaling laws show estimates with their intervals, and nothing that was refused."""

import dataclasses
import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from benchmarks import law_coverage as simulated
from whyjax.report import figures, law_arms, law_losses, law_style
from whyjax.report import laws as drawn
from whyjax.scaling import cells, laws
from whyjax.scaling.estimate import Estimate
from whyjax.scaling.settings import Settings

SETTINGS = Settings(resamples=60, rests=(0.5, 0.9), exponents=(0.2, 0.6))
PLACES = simulated.isoflop_places()


@pytest.fixture(scope='module')
def found():
  rows = simulated.losses(0, places=PLACES) + simulated.rates(0)
  return laws.find(cells.from_rows(rows), [('why', 'what')], SETTINGS)


def _bars(ax):
  """The (low, high) of every vertical error bar of a panel."""
  segments = [
    segment for c in ax.collections if hasattr(c, 'get_segments') for segment in c.get_segments()
  ]
  return {(round(s[0][1], 6), round(s[1][1], 6)) for s in segments}


def _ends(*estimates):
  return {(round(e.low, 6), round(e.high, 6)) for e in estimates}


def test_every_figure_is_written_as_png_and_as_svg(found, tmp_path):
  paths = drawn.save(found, tmp_path)
  names = ['loss', 'isoflop', 'misalignment', 'doses', 'advantage', 'ratio']
  assert [p.name for p in paths] == [f'law-{n}.{kind}' for n in names for kind in ('png', 'svg')]
  assert sorted(tmp_path.iterdir()) == sorted(paths), 'no file is left half written'
  for path in paths:
    if path.suffix == '.svg':
      assert ElementTree.parse(path).getroot().tag.endswith('svg')
    else:
      assert path.read_bytes().startswith(b'\x89PNG')
  again = drawn.drawings(found)['ratio'](figures.LIGHT)
  assert figures.png(again) == (tmp_path / 'law-ratio.png').read_bytes()
  assert figures.svg(again) == (tmp_path / 'law-ratio.svg').read_bytes()


def test_nothing_is_drawn_of_what_was_refused():
  rows = simulated.rates(0, worlds=2)
  refused = laws.find(cells.from_rows(rows), [('why', 'what')], SETTINGS)
  assert drawn.drawings(refused) == {}
  only_losses = laws.find(cells.from_rows(simulated.losses(0)), (), SETTINGS)
  assert list(drawn.drawings(only_losses)) == ['loss']


def test_the_loss_shows_the_law_and_what_was_predicted(found):
  (ax,) = law_losses.loss(found).axes
  predicted = [f for f in found.forecast.findings if isinstance(f, Estimate)]
  assert len(predicted) == 5 and _ends(*predicted) <= _bars(ax)


def test_a_law_that_was_refused_leaves_points_alone():
  rows = simulated.losses(0, places=[(1e5, 1e6), (1e6, 1e6)])
  refused = laws.find(cells.from_rows(rows), (), SETTINGS)
  (ax,) = law_losses.loss(refused).axes
  assert all(line.get_linestyle() == 'None' for line in ax.lines)
  assert law_losses.loss(refused).legends[0].get_title().get_text().endswith('no law')


def test_minima_stand_where_they_were_found(found):
  left, right = law_losses.isoflop(found).axes
  best = [level.best for level in found.isoflop.levels]
  assert _ends(*best) <= _bars(right)
  drawn_bars = {tuple(np.round(line.get_xdata(), 3)) for line in left.lines}
  assert {(round(e.low, 3), round(e.high, 3)) for e in best} <= drawn_bars


def test_a_frame_without_minima_says_so():
  growing = [
    row | {'loss': 1 + 0.1 * np.log(row['parameters'])}
    for row in simulated.losses(0, places=PLACES, noise=0.0)
  ]
  none = laws.find(cells.from_rows(growing), (), SETTINGS)
  _, right = law_losses.isoflop(none).axes
  assert [t.get_text() for t in right.texts][-1] == 'no minimum among the sizes tried'
  assert len(right.get_xticks()) == 0


def test_arms_are_drawn_with_their_intervals(found):
  sizes = (10**5, 10**6, 10**7)
  for panel, size in zip(law_arms.misalignment(found).axes, sizes, strict=True):
    own = [law for law in found.doses if law.place[0] == size]
    assert _ends(*(law.rates[-1] for law in own)) == _bars(panel)
  for panel, place in zip(law_arms.doses(found).axes, ((n, 10**6) for n in sizes), strict=True):
    own = [law for law in found.doses if law.place == place]
    assert _ends(*(rate for law in own for rate in law.rates)) <= _bars(panel)


def test_differences_and_ratios_are_drawn_with_their_intervals(found):
  by_size, by_dose = law_arms.advantage(found).axes
  most = {a.place: a for a in sorted(found.advantages, key=lambda a: a.dose)}  # the last stays
  assert _bars(by_size) == _ends(*(a.difference for a in most.values()))
  assert _bars(by_dose) == _ends(*(a.difference for a in found.advantages))
  (ax,) = law_arms.ratio(found).axes
  powers = [
    Estimate(*(10.0**v for v in (r.log_ratio.value, r.log_ratio.low, r.log_ratio.high)))
    for r in found.ratios
  ]
  assert _ends(*powers) <= _bars(ax)


def test_a_smaller_dose_is_not_drawn_as_the_largest():
  rows = [
    row for row in simulated.rates(0) if row['parameters'] != 10**6 or row['alignment_tokens'] < 5e4
  ]
  holed = laws.find(cells.from_rows(rows), [('why', 'what')], SETTINGS)
  assert [len(_bars(panel)) > 0 for panel in law_arms.misalignment(holed).axes] == [
    True,
    False,
    True,
  ]
  by_size, _ = law_arms.advantage(holed).axes
  assert len(_bars(by_size)) == 2


def test_an_axis_of_less_than_two_decades_has_labels(found):
  for figure in (law_losses.loss(found), law_arms.ratio(found), law_losses.isoflop(found)):
    for ax in figure.axes:
      figure.canvas.draw()
      low, high = ax.get_xlim()
      at = ax.get_xticks()
      assert sum((low <= at) & (at <= high)) >= 2
      assert all(t.get_text() for t in ax.get_xticklabels())


def test_lines_join_places_of_one_budget():
  rows = [
    row | {'tokens': round(1e12 / row['parameters'] / c), 'compute': 6e12 / c}
    for row in simulated.rates(0)
    for c in (1, 4)
  ]
  equal = laws.find(cells.from_rows(rows), [('why', 'what')], SETTINGS)
  left, right = law_arms.advantage(equal).axes
  assert [t.get_text() for t in left.get_legend().get_texts()] == ['C = 1.5e12', 'C = 6e12']
  assert len(right.get_legend().get_texts()) == 3, 'of each size the largest budget alone'


def test_a_long_title_is_not_cut_off(found):
  figure = law_arms.misalignment(dataclasses.replace(found, about='as ' * 60))
  figure.canvas.draw()
  assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize('theme', [figures.LIGHT, figures.DARK], ids=['light', 'dark'])
def test_shades_differ_in_lightness_and_stand_out_from_the_paper(theme):
  def lightness(colour):
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

  found = [lightness(colour) for colour, _ in law_style.shades(range(6), theme).values()]
  assert np.all(np.diff(found) > 0.02), 'who sees no colours sees an order'
  assert min(abs(np.array(found) - lightness(theme.paper))) > 0.15


def test_counts_are_written_for_people():
  assert [law_style.count(v) for v in (0.25, 7, 997, 999.9, 63_246, 6.32456e6, 2e9)] == [
    '0.25', '7', '997', '1k', '63.2k', '6.32M', '2G',
  ]  # fmt: skip
  assert law_style.flops(1.04e13) == '1e13'


def test_a_dose_of_0_alone_is_not_drawn():
  """Each dose in a world of its own: of no dose but 0 is there a rate over worlds."""
  rows = [r for r in simulated.rates(0, sizes=(1e6,)) if not r['arm']]
  arm = next(r for r in simulated.rates(0, sizes=(1e6,)) if r['arm'])
  rows += [arm | {'world': w, 'alignment_tokens': 10 ** (w + 2)} for w in range(4)]
  found = laws.find(cells.from_rows(rows), [('why', 'what')], SETTINGS)
  assert found.doses[0].doses == (0.0,) and drawn.drawings(found) == {}


def _lines(rows):
  found = laws.find(cells.from_rows(rows), (), SETTINGS)
  figure = law_losses.loss(found)
  lines = [line for line in figure.axes[0].lines if line.get_linestyle() != 'None']
  return found, lines, figure.legends[0].get_title().get_text()


def test_a_law_that_misses_its_cells_is_not_drawn():
  rows = simulated.losses(0)
  wrong = [
    r | {'loss': r['loss'] * (1.03 if r['parameters'] < 5e5 < r['tokens'] / 4 else 1)} for r in rows
  ]
  found, lines, title = _lines(wrong)
  assert found.loss.fails and not lines and 'misses its cells' in title


def test_a_law_of_one_budget_is_drawn_across_its_sizes():
  places = [(n, 1e6) for n in np.geomspace(1e5, 1e7, 5)]
  found, (line,), title = _lines(simulated.losses(0, places=places, worlds=1))
  assert found.loss.formula == 'E + A / N^a' and title.endswith('lines: L = E + A / N^a')
  assert 'worlds' not in title
  computes = [c.compute for c in found.table.losses]
  np.testing.assert_allclose(line.get_xdata()[[0, -1]], [min(computes), max(computes)])


def _title(figure):
  return figure.legends[0].get_title().get_text().replace('\n', ' ')


def test_a_law_without_two_places_of_a_size_is_not_told_to_be_drawn(found):
  assert found.loss.fit and not found.loss.fails
  figure = law_losses.loss(found)
  assert 'not drawn: no size has two places' in _title(figure)


def test_cells_have_intervals_over_worlds_or_it_is_said_that_they_have_none():
  rows = simulated.losses(0, worlds=3)
  some = [r for r in rows if r['world'] < 1]
  one, three = (law_losses.loss(laws.find(cells.from_rows(r), (), SETTINGS)) for r in (some, rows))
  assert 'one world: no interval of single cells' in _title(one)
  assert '95% intervals over worlds' in _title(three)
  logs = np.log([r['loss'] for r in rows if r['parameters'] == 10**5 and r['tokens'] == 10**6])
  away = 4.302653 * logs.std(ddof=1) / np.sqrt(3)  # Student's t of two degrees of freedom
  ends = tuple(np.round(np.exp([logs.mean() - away, logs.mean() + away]), 6).tolist())
  assert ends in _bars(three.axes[0])


def test_isoflop_curves_have_bands_around_them(found):
  for level in found.isoflop.levels:
    n, low, high = np.transpose(level.band)
    middle = np.exp(np.polyval(level.curve[::-1], np.log(n) - level.centre))
    assert np.all((low < middle) & (middle < high)) and (n[0], n[-1]) == pytest.approx(
      (level.sizes[0], level.sizes[-1])
    )
  left = law_losses.isoflop(found).axes[0]
  assert len(left.collections) == len(found.isoflop.levels)


@pytest.mark.parametrize('span', [1.05, 1.4, 2.0, 5.0, 30.0, 1e4, 1e9])
@pytest.mark.parametrize('low', [1e11, 1.7e11, 9.3e11])
def test_labels_of_narrow_panels_do_not_run_into_each_other(low, span):
  figure, axes = figures.grid(1, 3, (10.5, 3.2), figures.LIGHT)
  ax = axes[0][0]
  ax.plot([low, low * span], [0, 1])
  ax.set_xscale('log')
  law_style.log_x(ax, 'C, FLOPs of pretraining', figures.LIGHT)
  figure.canvas.draw()
  labels = [t.get_window_extent() for t in ax.get_xticklabels() if t.get_text()]
  inside = [box for box in labels if ax.bbox.x0 <= (box.x0 + box.x1) / 2 <= ax.bbox.x1]
  assert len(inside) >= 2
  assert all(a.x1 < b.x0 for a, b in itertools.pairwise(inside))
