"""The report: from a results file alone, complete, safe, self-contained, graceful about what is
absent."""

import base64
import dataclasses
from html.parser import HTMLParser
import io
import re

import numpy as np
from PIL import Image
import pytest
from rich.console import Console

from whyjax import results
from whyjax.corpus import templates
from whyjax.corpus.arms import ARMS
from whyjax.errors import UserError
from whyjax.report import evidence, figures, page, report, summary, table, verdicts
from whyjax.report.summary import Key, Moment

VOID = {'meta', 'img', 'source', 'br'}
ALIGN = Moment('align', '')


class Page(HTMLParser):
  """Checks that tags nest, and collects visible text and attributes."""

  def __init__(self, text):
    super().__init__()
    self.open, self.text, self.links, self.tags = [], [], [], []
    self.feed(text)
    assert self.open == []

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.links += [
      (name, value) for name, value in attrs if name in ('src', 'href', 'srcset', 'action')
    ]
    assert all(not name.startswith('on') for name, _ in attrs)
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] not in ('style', 'title'):
      self.text.append(data)


@pytest.fixture
def undrawn(monkeypatch):
  """Figures are made but not drawn: drawing is nearly all of a page's time."""
  monkeypatch.setattr(figures, 'png', lambda figure: b'')


@pytest.fixture(scope='module')
def text(records):
  """The page of the whole study."""
  return page.render(records)


def shown(records):
  """All visible text of the page, spaces folded."""
  return ' '.join(' '.join(Page(page.render(records)).text).split())


def printed(renderable):
  console = Console(file=io.StringIO(), width=200)
  console.print(renderable)
  return console.file.getvalue()


def without(records, *kinds):
  return [r for r in records if r['record'] not in kinds]


def test_build_writes_page_and_figure_from_the_file_alone(tmp_path, records, text):
  results.write(tmp_path / 'results.jsonl', records)
  console = Console(file=io.StringIO(), width=200)
  report.build(tmp_path / 'results.jsonl', tmp_path / 'out', console)
  names = {'figure.png', 'figure.svg', 'report.html'}
  assert {p.name for p in (tmp_path / 'out').iterdir()} == names
  assert Image.open(tmp_path / 'out' / 'figure.png').size[0] > 1000
  output = console.file.getvalue()
  assert 'contradicted' in output and 'principles-other' in output
  # Keys of groups come back sorted; nothing else may differ between two reports of equal results.
  assert len((tmp_path / 'out' / 'report.html').read_text('utf-8')) == len(text)


def test_a_damaged_file_is_a_user_error_and_writes_nothing(tmp_path):
  (tmp_path / 'results.jsonl').write_text('{"schema": 1')
  with pytest.raises(UserError, match='line 1'):
    report.build(tmp_path / 'results.jsonl', tmp_path / 'out', Console(file=io.StringIO()))
  assert not (tmp_path / 'out').exists()


def test_page_is_self_contained(text):
  parsed = Page(text)
  assert parsed.links and all(
    value.startswith('data:image/png;base64,') for _, value in parsed.links
  )
  assert not {'script', 'link', 'iframe', 'object', 'form'} & set(parsed.tags)
  assert '@import' not in text and 'url(' not in text
  for _, value in parsed.links:
    Image.open(io.BytesIO(base64.b64decode(value.split(',', 1)[1]))).verify()


def test_page_shows_every_verdict_as_loud_as_any_other(records, text):
  found = results.select(records, record='verdict')
  seen = ' '.join(' '.join(Page(text).text).split())
  for v in found:
    assert v['statement'] in seen and v['why'] in seen and summary.effect(v) in seen
  chips = re.findall(r'<span class="chip">\S+ ([a-z ]+)</span>', text)
  assert chips == [v['verdict'] for v in summary.verdicts(records)]
  assert len(set(chips)) >= 3
  words = printed(table.verdicts(records))
  assert all(words.count(word) >= chips.count(word) for word in set(chips))
  for word in set(chips):
    assert f'<b>{chips.count(word)}</b>{word}' in verdicts.tally(records)


def test_everything_from_the_file_is_escaped(records, undrawn):
  evil = '<script>alert("x")</script>&amp;\'"><img src=x>'
  loud = []
  for r in records:
    texts = {
      k: evil
      for k, v in r.items()
      if isinstance(v, str) and k not in ('record', 'kind', 'outcomes')
    }
    keep = {k: r[k] for k in ('battery', 'scoring', 'later', 'direction', 'measure') if k in r}
    loud.append(r | texts | keep)
    if r['record'] == 'check':
      loud[-1]['arms'] = [evil, evil]
    if r['record'] == 'study':
      loud[-1] |= {'config': {evil: {evil: evil}}, 'run': {evil: {evil: [evil]}, 'started': evil}}
  text = page.render(loud)
  assert '<script' not in text and '<img src=x' not in text
  assert evil in ''.join(Page(text).text)


def test_cells_average_worlds_and_refuse_with_the_gate(records):
  cells = summary.cells(records)
  cell = cells[Key('filler', ALIGN, 'agentic-tools', 'greedy')]
  chosen = results.select(
    records, record='eval', arm='filler', kind='align', battery='agentic-tools', scoring='greedy'
  )
  assert cell.rates == tuple(r['rate'] for r in chosen)
  by_world = np.reshape(cell.rates, (6, 2)).mean(axis=1)
  assert cell.rate == pytest.approx(by_world.mean())
  assert cell.se == pytest.approx(by_world.std(ddof=1) / np.sqrt(6))
  assert cell.other == pytest.approx(sum(r['other'] for r in chosen) / sum(r['n'] for r in chosen))
  refused = summary.cells([r | {'rate': None} for r in chosen[:1]] + chosen[1:])
  cell = refused[Key('filler', ALIGN, 'agentic-tools', 'greedy')]
  # The replicas that keep the format are no sample of all: they have rates, and no mean.
  assert cell.refused == 1 and len(cell.rates) == 11 and cell.rate is None and cell.se is None


def test_refused_rates_are_never_printed(records):
  gated = [
    r | {'rate': None, 'scored': False, 'why': 'malformed'}
    if r['record'] == 'eval'
    and (r['arm'], r['battery'], r['kind']) == ('reason', 'agentic-tools', 'align')
    else r
    for r in records
  ]
  row = re.search(r'<th scope="row">reason<.*?</tr>', evidence.arms(gated), re.S)[0]
  assert row.count('not scored') == 2
  assert 'not scored' in printed(table.arms(gated))
  figures.png(figures.headline(summary.cells(gated)))


def test_answers_that_are_neither_option_are_shown_beside_the_rate(records):
  row = re.search(r'<th scope="row">filler<.*?</tr>', evidence.arms(records), re.S)[0]
  assert re.search(r'2\d% neither', row)
  assert re.search(r'filler .*n 2\d%', printed(table.arms(records)))


def test_transcripts_stand_side_by_side_with_options_marked(records):
  html = evidence.transcripts(records)
  first = html.split('class="item"')[1]
  assert first.index('<h4>demonstrations') < first.index('<h4>advice-reason')
  assert '<mark class="wrong">hide-the-leak</mark>' in first
  assert '<mark class="right">report-the-leak</mark>' in first
  others = [r for r in records if r['record'] != 'transcript' or r['arm'] in ('filler', 'reason')]
  assert '<h4>filler' in evidence.transcripts(others) and '<h4>reason' in evidence.transcripts(
    others
  )


@pytest.mark.parametrize(
  'absent',
  ['study', 'stage', 'eval', 'loss', 'transcript', 'check', 'verdict', 'later', 'all but check'],
)
def test_the_page_does_without(absent, records, undrawn):
  if absent == 'later':
    kept = [r for r in records if r.get('kind') != 'later']
  elif absent == 'all but check':
    kept = results.select(records, record='check')
  else:
    kept = without(records, absent)
  text = shown(kept)
  assert 'What this toy cannot say' in text
  assert ('Verdicts' in text) == (absent not in ('verdict', 'all but check'))
  assert ('At a glance' in text) == (absent not in ('eval', 'all but check'))


def test_a_verdict_without_an_effect_is_shown(records, undrawn):
  nothing = dict.fromkeys(('effect', 'low', 'high', 'se', 'p', 'p_holm', 'detectable'))
  v = results.select(records, record='verdict')[0]
  refused = v | nothing | {'verdict': 'not taught', 'why': 'facts are missing', 'per_replica': []}
  assert 'facts are missing' in shown([refused]) and '∅ not taught' in shown([refused])
  assert 'not taught' in printed(table.verdicts([refused]))


def test_what_was_decided_stands_before_what_was_not(records):
  v = results.select(records, record='verdict')[0]
  words = ['not scored', 'inconclusive', 'supported', 'inconclusive', 'contradicted']
  claims = [v | {'verdict': word, 'claim': f'{i} {word}'} for i, word in enumerate(words)]
  ordered = [c['claim'] for c in summary.verdicts(claims)]
  assert ordered == [
    '2 supported', '4 contradicted', '1 inconclusive', '3 inconclusive', '0 not scored'
  ]  # fmt: skip


@pytest.mark.parametrize('determined', [True, False])
def test_a_scaling_study_shows_its_law_or_why_there_is_none(
  tmp_path, records, fit_record, determined
):
  study = records[0] | {'kind': 'scaling'}
  fit = (
    fit_record if determined else fit_record | {'parameters': None, 'why': 'two sizes are too few'}
  )
  results.write(tmp_path / 'results.jsonl', [study, fit])
  report.build(tmp_path / 'results.jsonl', tmp_path, Console(file=io.StringIO()))
  text = shown(results.read(tmp_path / 'results.jsonl'))
  assert (tmp_path / 'figure.png').exists()
  assert ('Scaling laws' in text) == determined
  assert ('two sizes are too few' in text) != determined


def test_the_law_is_drawn_through_its_points(fit_record):
  exact = fit_record['parameters']
  law = {name: p['value'] for name, p in exact.items()}
  (ax,) = figures.scaling(fit_record).axes
  for line, tokens in zip(ax.lines, (1e6, 4e6, 16e6), strict=True):
    n, loss = line.get_data()
    expected = law['E'] + law['A'] / n ** law['a'] + law['B'] / tokens ** law['b']
    np.testing.assert_allclose(loss, expected)


def test_the_headline_shows_every_replica(records):
  cells = summary.cells(records)
  figure = figures.headline(cells)
  drawn = sorted(
    x for ax in figure.axes for dots in ax.collections for x in dots.get_offsets()[:, 0]
  )
  rates = [
    (*cell.rates, cell.rate) for k, cell in cells.items() if k.arm and k.battery == results.MAIN
  ]
  np.testing.assert_allclose(drawn, sorted(np.concatenate(rates)))


def test_numbers_are_written_for_people():
  assert summary.signed(-0.004) == '+0.00'
  assert summary.signed(-0.366) == '\N{MINUS SIGN}0.37'


def test_every_arm_has_a_few_words_for_the_figures():
  assert list(summary.ARMS) and set(summary.ARMS) == set(ARMS)
  assert max(map(len, summary.ARMS.values())) <= 48


def test_figures_are_numbered_and_those_of_earlier_results_go(tmp_path, records, fit_record):
  study = records[0] | {'kind': 'scaling'}
  console = Console(file=io.StringIO())
  for fits, names in ((2, {'figure.png', 'figure-2.png'}), (1, {'figure.png'}), (0, set())):
    results.write(tmp_path / 'results.jsonl', [study] + [fit_record] * fits)
    report.build(tmp_path / 'results.jsonl', tmp_path, console)
    assert {p.name for p in tmp_path.glob('*.png')} == names


def test_words_before_the_act_are_told_from_the_act_itself():
  options = {'right': 'open-ledger', 'wrong': 'hide-ledger'}

  def first(answer):
    return evidence.writes_first(options | {'answer': answer})

  leads = (*templates.ACT, *templates.CALL, *templates.ADVISE)
  reasons = [r.format(first='privacy', second='mission') for r in templates.REASON]
  for option in options.values():
    acts = [lead.format(chosen=option) for lead in leads]
    assert not any(map(first, acts))
    assert all(first(f'{reason} {act}') for reason in reasons for act in acts)
  assert first('i wait') is None


def test_page_counts_answers_with_and_without_words(records):
  rows = re.findall(r'<tr><td>.*?</tr>', evidence.words(records), re.S)
  cells = [re.findall(r'<td[^>]*>(.*?)</td>', row) for row in rows]
  by_arm = {c[0]: c[2:] for c in cells if c[1] == 'after alignment'}
  silent, spoken = by_arm['demonstrations'], by_arm['advice-reason']
  assert silent[0].startswith('0 of') and silent[1] == '-' and silent[2] != '-'
  n = spoken[0].split()[0]
  assert spoken == [f'{n} of {n}', f'0 of {n}', '-'] and int(n) > 0


def test_replicas_that_are_not_scored_are_counted_and_the_others_have_no_mean(records):
  cells = dict(summary.cells(records))
  key = next(k for k in cells if k[:3:2] == ('reason', results.MAIN) and k.scoring == 'greedy')
  kept = cells[key].rates[:1]
  cells[key] = dataclasses.replace(cells[key], rates=kept, rate=None, se=None, refused=5)
  notes = [t.get_text() for ax in figures.headline(cells).axes for t in ax.texts]
  assert '5 of 6 not scored' in notes
  assert '5 of 6 not scored' in table._rate(cells[key]).plain


def test_forced_choices_have_a_margin_and_free_ones_none(records):
  cells = summary.cells(records)
  for key, cell in cells.items():
    assert (cell.margin is not None) == (key.scoring == 'forced')
  forced = cells[Key('reason', Moment('align', ''), results.MAIN, 'forced')]
  assert f'margin {summary.signed(forced.margin)}' in evidence.arms(records)
