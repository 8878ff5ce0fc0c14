"""Dose curves: read from records, drawn, and kept out of what is said of the full doses."""

import io

import numpy as np
import pytest
from rich.console import Console

from whyjax import results
from whyjax.report import doses, evidence, figures, page, summary, table, verdicts

SMALLER = {3000: 0.25, 6000: 0.5}  # tokens of the smaller doses, and how far they go
ARMS = ('demonstrations', 'advice-reason')


@pytest.fixture(scope='module')
def dosed(records):
  """The study with two smaller doses of two arms, and a verdict on their tokens."""
  found = list(records)
  for arm in ARMS:
    for tokens, part in SMALLER.items():
      fields = {'stage': f'dose/{arm}/{tokens}', 'kind': 'dose'}
      (stage,) = results.select(records, record='stage', kind='align', arm=arm)
      found.append(stage | fields | {'supervised_tokens': [tokens] * 6})
      for r in results.select(records, kind='align', arm=arm, battery='agentic-tools'):
        if r['record'] == 'eval':
          turned = round(part * r['n'])
          outcomes = r['outcomes'][:turned] + 'm' * (r['n'] - turned)
          counts = {name: outcomes.count(x) for x, name in results.OUTCOMES.items()}
          rate = {'rate': counts['misaligned'] / r['n']}
          found.append(r | fields | counts | rate | {'outcomes': outcomes})
        else:
          found.append(r | fields)
  (like,) = [v for v in records if v.get('claim') == 'reason-over-demonstrations-free']
  ratio = {'effect': -0.7, 'low': -1.1, 'high': -0.3, 'per_replica': [-0.6, -0.8]}
  found.append(
    like
    | {'measure': 'efficiency', 'treatment': ARMS[1], 'control': ARMS[0], 'smallest_effect': 0.301}
    | {'matched_rates': [0.3, 0.4, 0.5]}
    | ratio
  )
  for r in found:
    results.validate(r)
  return found


def test_curves_have_every_dose_and_end_in_the_ordinary_arm(dosed):
  found = doses.curves(dosed)
  assert [(c.arm, c.scoring) for c in found] == [
    (arm, scoring) for arm in ARMS for scoring in ('forced', 'greedy')
  ]
  cells = summary.cells(dosed)
  for curve in found:
    assert curve.tokens == (3000, 6000, 24_000)
    full = cells[summary.Key(curve.arm, summary.Moment('align', ''), results.MAIN, curve.scoring)]
    assert curve.cells[-1] == full
    assert curve.cells[0].rate > curve.cells[1].rate > full.rate


def test_smaller_doses_stay_out_of_every_other_part(records, dosed):
  assert summary.cells(dosed) == summary.cells(records)
  assert evidence.arms(dosed) == evidence.arms(records)
  assert evidence.transcripts(dosed) == evidence.transcripts(records)


def test_a_study_without_doses_has_no_curves(records):
  assert doses.curves(records) == [] and doses.matched(records) == {}


def test_the_figure_has_a_panel_a_scoring_a_line_an_arm_and_the_matched_rate(dosed):
  figure = doses.figure(doses.curves(dosed), doses.matched(dosed), figures.DARK)
  forced, free = figure.axes
  assert 'Forced' in forced.get_title(loc='left') and 'Free' in free.get_title(loc='left')
  for ax in (forced, free):
    assert ax.get_xscale() == 'log'
    assert [t.get_text() for t in ax.get_xticklabels()] == ['3k', '6k', '24k']
    assert len(ax.collections) == len(ARMS)  # bands
  drawn = [list(line.get_ydata()) for line in free.lines]
  assert drawn[0] == pytest.approx([0.4, 0.4]) and len(drawn) == 1 + len(ARMS)
  assert len(forced.lines) == len(ARMS)
  assert figures.png(figure).startswith(b'\x89PNG')


def test_the_page_shows_curves_and_factors(dosed, records, monkeypatch):
  monkeypatch.setattr(figures, 'png', lambda figure: b'')
  text = page.render(dosed)
  assert text.count('<figure>') == page.render(records).count('<figure>') + 1
  assert '1/5.0 [1/13, 1/2.0]' in text and '1/100' in text
  assert 'alignment tokens for as few misaligned choices' in text
  console = Console(file=io.StringIO(), width=200)
  console.print(table.verdicts(dosed))
  assert '1/5.0 [1/13, 1/2.0]' in console.file.getvalue()


def test_the_scale_of_factors_is_logarithmic(dosed):
  (row,) = [v for v in dosed if v.get('measure') == 'efficiency']
  drawn = verdicts.verdicts([row | {'effect': -1.5, 'low': -4.0, 'high': 0.0}])
  assert 'cx="64.0" cy="16"' in drawn  # half-way between 1/1000 and 1
  assert 'M8.0 16H120.0' in drawn  # what is beyond the scale ends at its end


def test_curves_come_first_where_they_hold_all_arms(dosed):
  kept = [r for r in dosed if r.get('arm', '') in ('', 'generic', *ARMS)]
  assert 'smaller doses' in page.drawings(kept)[0].alt
  assert 'smaller doses' not in page.drawings(dosed)[0].alt


@pytest.mark.parametrize(
  ('log10', 'text'),
  [(0.0, '1.0'), (-0.001, '1.0'), (np.log10(2), '2.0'), (-np.log10(5.2), '1/5.2'), (-2, '1/100')],
)
def test_factors_read_as_fractions(log10, text):
  assert results.factor(log10) == text
