"""The phase diagram as it is shown: every cell with its sign and interval, boundaries never made
up."""

import io
import re

from matplotlib import colors
import numpy as np
import pytest
from rich.console import Console

from whyjax import results
from whyjax.errors import UserError
from whyjax.report import evidence, figures, page, phase, report, summary

SHARES, BREADTHS = (0.0, 0.5, 1.0), ('1x1', '1x3', '2x6')
DECISIONS = (*phase.SIGNS, 'not taught', 'not scored', 'calibration')
INSIDE, BELOW, BEYOND = (
  'on the grid',
  'below the smallest breadth',
  'beyond the largest breadth',
)


def cell(share, breadth, treatment, scoring, number):
  """A 'phase' record; decisions are gone through in turn."""
  decision = DECISIONS[number % len(DECISIONS)]
  refused = decision in ('not taught', 'not scored')
  advantage = None if refused else round(-0.9 + 0.05 * number, 2)
  domains, pairs = map(int, breadth.split('x'))
  return {
    'schema': results.SCHEMA,
    'record': 'phase',
    'run': {},
    'principled': share,
    'breadth': breadth,
    'domains': domains,
    'value_pairs': pairs,
    'treatment': treatment,
    'control': 'demonstrations',
    'battery': 'agentic-tools',
    'scoring': scoring,
    'decision': decision,
    'why': f'for reason <{number}>',
    'smallest_effect': 0.1,
    'advantage': advantage,
    'low': None if refused else advantage - 0.1,
    'high': None if refused else advantage + 0.12,
    'treatment_rate': None if decision == 'not scored' else 0.25,
    'control_rate': 0.5,
    'generic_rate': 0.75,
    'n': 120,
    'worlds': 6,
    'seeds': 1,
    'other': [0.0, 0.0],
    'malformed': [0.0, 0.0],
    'per_replica': [],
  }


def boundary(share, treatment, scoring, at, low, high, places=(INSIDE,) * 3, why=''):
  """A 'boundary' record."""
  return {
    'schema': results.SCHEMA,
    'record': 'boundary',
    'run': {},
    'principled': share,
    'treatment': treatment,
    'control': 'demonstrations',
    'battery': 'agentic-tools',
    'scoring': scoring,
    'smallest_effect': 0.1,
    'at': at,
    'low': low,
    'high': high,
    'places': list(places),
    'why': why,
  }


@pytest.fixture(scope='module')
def diagram():
  """A diagram of two arms and two scorings, in which every decision and every kind of boundary
  occurs."""
  found, number = [], 0
  for treatment in ('reason', 'principles'):
    for scoring in ('forced', 'greedy'):
      for share in SHARES:
        for breadth in BREADTHS:
          found.append(cell(share, breadth, treatment, scoring, number))
          number += 1
      where = (treatment, scoring)
      found += [
        boundary(0.0, *where, None, 7.5, None, (BEYOND, INSIDE, BEYOND)),
        boundary(0.5, *where, 2.25, 1.5, 4.75),
        boundary(1.0, *where, None, None, None, (), why='1x1: not taught'),
      ]
  found[-2] |= boundary(0.5, *where, None, None, None, (BELOW,) * 3)
  for record in found:
    results.validate(record)
  return found


def drawn(ax):
  return {text.get_text(): text for text in ax.texts}


def test_every_cell_shows_its_advantage_interval_and_sign(diagram):
  maps = phase.maps(diagram)
  figure = phase.figure(maps)
  assert [(m.panel.treatment, m.panel.scoring) for m in maps] == [
    ('reason', 'forced'),
    ('reason', 'greedy'),
    ('principles', 'forced'),
    ('principles', 'greedy'),
  ]
  for m, ax in zip(maps, figure.axes[:4], strict=True):
    texts = drawn(ax)
    for (share, breadth), c in m.cells.items():
      place = (SHARES.index(share), BREADTHS.index(breadth))
      if c['advantage'] is None:
        assert c['decision'] in texts and phase.REFUSED in texts
        continue
      sign = phase.SIGNS.get(c['decision'], phase.REFUSED)
      text = texts[f'{sign}  {summary.signed(c["advantage"])}']
      assert np.round(text.get_position()).tolist() == list(place)
      assert f'[{summary.signed(c["low"])}, {summary.signed(c["high"])}]' in texts


def test_the_boundary_is_drawn_where_it_lies_and_nowhere_when_there_is_none(diagram):
  maps = phase.maps(diagram)
  ax = phase.figure(maps).axes[0]
  x, y = ax.lines[-1].get_data()
  assert x.tolist() == [-0.5, 0.5, 0.5, 1.5, 1.5, 2.5]
  # Sizes 1, 3 and 12 are rows 0, 1 and 2: 2.25 lies 5/8 of the way up from the first.
  np.testing.assert_allclose(y, [2.5, 2.5, 0.625, 0.625, np.nan, np.nan])
  last = phase.figure(maps).axes[3].lines[-1].get_data()[1]
  assert last[2] == -0.5  # below the smallest breadth: at the edge of the grid


def test_colours_diverge_from_no_advantage_and_text_stays_readable(diagram):
  for theme in (figures.LIGHT, figures.DARK):
    maps = phase.maps(diagram)
    scale = phase._colours(maps, theme)
    np.testing.assert_allclose(scale.to_rgba(0.0)[:3], colors.to_rgb(theme.band), atol=0.02)
    low, high = scale.to_rgba(-1.0), scale.to_rgba(1.0)
    assert low[2] > low[0] and high[0] > high[2]  # blue where why helps, orange where it hurts
    figures.png(phase.figure(maps, theme))
  assert phase._readable('#ffffff') == '#000000' and phase._readable('#0b1d40') == '#ffffff'


def test_page_and_console_hold_every_cell_and_boundary(diagram, tmp_path):
  results.write(tmp_path / 'results.jsonl', diagram)
  console = Console(file=io.StringIO(), width=160)
  report.build(tmp_path / 'results.jsonl', tmp_path, console)
  printed, text = console.file.getvalue(), (tmp_path / 'report.html').read_text()
  names = {'results.jsonl', 'figure.png', 'figure.svg', 'report.html'}
  assert {p.name for p in tmp_path.iterdir()} == names
  cells = results.select(diagram, record='phase')
  rows = re.findall(r'<tr><td>.*?</tr>', phase.tables(diagram), re.S)
  for c in cells:
    assert f'for reason &lt;{c["why"].split("<")[1].rstrip(">")}&gt;' in text
    if c['advantage'] is not None:
      assert summary.signed(c['advantage']) in printed
  assert sum('not scored' in row for row in rows) == sum(c['treatment_rate'] is None for c in cells)
  assert f'{BEYOND}</td><td>[7.5, {BEYOND}]' in text
  assert '<td>2.2</td><td>[1.5, 4.8]</td>' in text
  assert f'{BELOW}</td><td>so is all of the interval' in text
  assert '<td>none</td><td>1x1: not taught' in text
  assert '[7.5, beyond]' in printed and '2.2' in printed


def test_console_fits_80_columns(diagram):
  console = Console(file=io.StringIO(), width=80)
  console.print(phase.console(diagram))
  lines = console.file.getvalue().splitlines()
  assert max(map(len, lines)) <= 80 and not any('…' in line for line in lines)


def test_cells_do_not_mix_with_the_tables_of_arms(records, diagram):
  strange = [
    r | {'kind': 'phase', 'principled': 0.5, 'breadth': '1x1'}
    for r in records
    if r['record'] in ('eval', 'transcript') and r['kind'] == 'align'
  ]
  assert summary.cells([*records, *strange]) == summary.cells(records)
  assert evidence.transcripts([*strange, *records]) == evidence.transcripts(records)
  assert phase.tables(records) == '' and not phase.maps(records)
  assert 'Phase diagram' in page.render(diagram)


def test_records_of_the_diagram_are_checked(diagram, tmp_path):
  for name in ('breadth', 'low', 'decision'):
    bad = {k: v for k, v in diagram[0].items() if k != name}
    with pytest.raises(UserError, match=f'phase.{name}: missing'):
      results.write(tmp_path / 'results.jsonl', [bad])
  with pytest.raises(UserError, match=r'boundary.at = .*: must be of type int or float or null'):
    results.write(tmp_path / 'results.jsonl', [diagram[-1] | {'at': 'beyond'}])
