"""What lasts: curves on the way and doses of conflict, grouped by families of arms."""

import numpy as np
import pytest

from whyjax import results
from whyjax.report import figures, page, persistence, summary

STEPS = (20, 40, 80)
PROBED = ('generic', 'demonstrations', 'reason', 'principles')


@pytest.fixture(scope='module')
def probed(records):
  """The study, asked on the way through capability training: halfway between start and end."""
  found = list(records)
  for arm in PROBED:
    before = {
      (r['scoring'], r['world'], r['seed']): r
      for r in results.select(records, record='eval', kind='align', arm=arm, battery=results.MAIN)
    }
    where = dict(record='eval', kind='later', arm=arm, later='capability', battery=results.MAIN)
    for r in results.select(records, **where):
      start = before[r['scoring'], r['world'], r['seed']]['outcomes']
      for number, step in enumerate(STEPS):
        cut = len(start) * (number + 1) // 4
        outcomes = r['outcomes'][:cut] + start[cut:]
        counts = {name: outcomes.count(letter) for letter, name in results.OUTCOMES.items()}
        rate = counts['misaligned'] / len(outcomes)
        changed = {'record': 'probe', 'update': step, 'outcomes': outcomes, 'rate': rate}
        found.append(r | counts | changed)
  return found


def test_a_curve_begins_where_alignment_ended_and_ends_where_later_training_did(probed):
  cells = summary.cells(probed)
  curves = persistence.curves(probed)
  assert {(c.arm, c.later) for c in curves} == {(arm, 'capability') for arm in PROBED}
  for curve in curves:
    assert curve.places == (0, *STEPS, 120)
    ends = [
      cells[summary.Key(curve.arm, summary.Moment(*moment), results.MAIN, curve.scoring)]
      for moment in (('align', ''), ('later', 'capability'))
    ]
    assert [curve.cells[0], curve.cells[-1]] == ends
    rates = [cell.rate for cell in curve.cells]
    assert min(rates[0], rates[-1]) - 0.1 < rates[2] < max(rates[0], rates[-1]) + 0.1


def test_every_family_has_a_figure_with_the_base_in_it(probed):
  curves = persistence.curves(probed)
  grouped = persistence.families(curves)
  assert grouped == {'demonstrations': ['demonstrations', 'reason'], 'documents': ['principles']}
  for arms in grouped.values():
    for theme in (figures.LIGHT, figures.DARK):
      drawn = persistence.figure(curves, arms, theme)
      assert len(drawn.axes) == 2  # forced and free-running, one kind of later training
      for ax in drawn.axes:
        assert len(ax.lines) == len(arms) + 1
      (legend,) = drawn.legends
      assert [t.get_text() for t in legend.get_texts()] == [*arms, 'generic']
  captions = [d.caption for d in page.drawings(probed) if d.caption.startswith('What lasts')]
  assert len(captions) == 2 and 'documents' in captions[1]


def test_what_is_forgotten_of_control_facts_stands_beside_the_curves(probed):
  """The probes again as if they were about control facts: aligned answers are right ones."""
  about = [r for r in probed if r.get('battery') == results.MAIN and r.get('scoring') == 'greedy']
  curves = persistence.curves(probed + [r | {'battery': 'controls'} for r in about], 'controls')
  assert {c.arm for c in curves} == set(PROBED)
  for curve in curves:
    lost = persistence.forgotten(curve)
    assert lost[0] == 0 and all(0 <= share <= 1 for share in lost)
    right = [cell.correct for cell in curve.cells]
    assert lost[-1] == pytest.approx(max(0, 1 - right[-1] / right[0]))
  drawn = persistence.figure(persistence.curves(probed), ['reason'], controls=curves)
  assert [len(ax.lines) for ax in drawn.axes] == [2, 3]  # forced, free-running


def test_an_arm_of_no_family_is_not_lost(probed):
  renamed = [r | {'arm': 'spec'} if r.get('arm') == 'principles' else r for r in probed]
  assert persistence.families(persistence.curves(renamed))['other arms'] == ['spec']


def test_doses_of_conflict_stand_on_one_axis_with_clean_training_at_zero(records):
  doses = {'conflicting-2': 0.2, 'conflicting-10': 0.4}
  found = list(records)
  for r in results.select(records, record='eval', kind='later', later='capability'):
    for later, more in doses.items():
      rng = np.random.default_rng([r['world'], r['seed'], len(later)])
      flips = rng.random(len(r['outcomes'])) < more
      outcomes = ''.join('m' if f else o for f, o in zip(flips, r['outcomes'], strict=True))
      counts = {name: outcomes.count(letter) for letter, name in results.OUTCOMES.items()}
      changed = {'later': later, 'outcomes': outcomes, 'rate': counts['misaligned'] / len(outcomes)}
      found.append(r | counts | changed)
  curves = persistence.doses(found)
  assert curves
  for curve in curves:
    assert curve.places == (0.0, 2.0, 10.0)
    rates = [cell.rate for cell in curve.cells]
    assert rates == sorted(rates)
  drawn = persistence.dose_figure(curves, figures.LIGHT)
  assert [t.get_text() for t in drawn.axes[0].get_xticklabels()] == ['0%', '2%', '10%']
  assert persistence.doses(records) == []  # one dose is no curve


def test_many_kinds_of_later_training_leave_the_headline_to_alignment(records):
  cells = summary.cells(records)
  crowded = dict(cells)
  for key, cell in cells.items():
    if key.moment.later == 'capability':
      for i in range(6):
        crowded[key._replace(moment=summary.Moment('later', f'kind-{i}'))] = cell
  (legend,) = figures.headline(crowded).legends
  assert [t.get_text() for t in legend.get_texts()] == ['after alignment']
