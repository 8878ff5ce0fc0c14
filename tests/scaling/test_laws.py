"""All laws of one table: what is told, what is refused, and that no number goes bare."""

import json
import math
import re

import numpy as np
import pytest

from benchmarks import law_coverage as simulated
from whyjax.errors import UserError
from whyjax.scaling import cells, forecast, laws, text
from whyjax.scaling.estimate import Estimate
from whyjax.scaling.forecast import Place
from whyjax.scaling.settings import Settings

SETTINGS = Settings(resamples=60, rests=(0.5, 0.9), exponents=(0.2, 0.6))
PAIR = ('why', 'what')


def _rows():
  return simulated.losses(0) + simulated.rates(0)


def _find(rows, **given):
  return laws.find(cells.from_rows(rows), [PAIR], SETTINGS, **given)


@pytest.fixture(scope='module')
def found():
  return _find(_rows(), about='agentic-tools, forced')


def test_everything_that_the_table_allows_is_told(found):
  told = text.text(found)
  for line in (
    'Scaling laws (agentic-tools, forced): 48 losses and 132 rates of 4 worlds. Brackets: 95%',
    'Held-out loss, nats a token: L = E + A / N^a + B / D^b (N parameters, D tokens)',
    '  g, of N_opt ~ C^g: b / (a + b) = ',
    'Best size for a compute C (isoFLOP)',
    '  N = 10,000,000, D = 30,000,000: ',
    '  what, N = 100,000, D = 1,000,000',
    '  why / what, N = 1,000,000, D = 1,000,000: 1/',
    '  why / what, log10 of the ratio for every factor 10 of N: ',
    '  why less what, at the largest dose, for every factor 10 of N: ',
  ):
    assert line in told
  assert max(map(len, told.splitlines())) <= 100


def test_every_record_has_an_interval_or_a_reason(found):
  lines = laws.records(found)
  json.dumps(lines, allow_nan=False)
  assert len({(line['law'], line['what']) for line in lines}) == len(lines)
  for line in lines:
    if line['value'] is None:
      assert line['why'] and line['low'] is None and line['high'] is None
    else:
      assert line['low'] <= line['value'] <= line['high'] and not line['why']


def test_no_number_goes_without_its_interval(found):
  """What is left of a line without its intervals ends where a value would begin."""
  joined = re.sub(r'\n {4,}', ' ', text.text(found))
  values = 0
  for line in joined.splitlines()[1:]:
    bare, count = re.subn(r'[+-]?[\d.,/e+%-]+ \[[^\]]+?, [^\]]+\]', '#', line)
    values += count
    if count:
      assert re.search(r'(=|:) #( \(at a rate of #\)|; error #, inside the interval)?$', bare), line
  printed = [
    r for r in laws.records(found) if r['value'] is not None and 'rate at' not in r['what']
  ]
  matched = sum(r.samples is not None for r in found.ratios)
  assert values == len(printed) + matched


def test_equal_tables_give_equal_text(found):
  again = _find(_rows()[::-1], about='agentic-tools, forced')
  assert text.text(again) == text.text(found)


def test_the_forecast_is_kept_before_the_largest_cells_are_looked_at(tmp_path):
  """What was kept is what is compared, also when the largest cells have changed since."""
  rows = simulated.losses(0)
  keep = tmp_path / 'forecast.json'
  first = _find(rows, keep=keep)
  assert forecast.read(keep) == first.forecast
  assert first.compared[0].error.holds(0)
  for row in rows:
    if row['parameters'] == 10_000_000 and row['tokens'] == 30_000_000:
      row['loss'] *= 1.2
  second = _find(rows, keep=keep)
  assert second.forecast == first.forecast
  assert not second.compared[0].error.holds(0)
  assert 'OUTSIDE the interval' in ' '.join(text.text(second).split())


def test_planned_cells_are_predicted_without_having_been_run():
  wanted = [Place(2 * 10**7, 3 * 10**7, 3.6e15)]
  found = _find(simulated.losses(0), planned=wanted)
  assert [p for p in found.forecast.places] == wanted
  assert isinstance(found.forecast.findings[0], Estimate)
  assert found.compared[0].error.why == 'no result in the worlds of the forecast'


@pytest.mark.parametrize('rows', [[], _rows()[:1], simulated.rates(0)[:1]], ids=str)
def test_next_to_nothing_gives_reasons_and_no_number(rows):
  found = _find(rows)
  assert all(line['value'] is None for line in laws.records(found))
  assert 'not estimated (' in text.text(found)


def test_broken_grids_tell_what_cannot_be_estimated_and_why():
  rows = [r for r in _rows() if r['tokens'] == 10**6 or r.get('arm')]
  rows[0]['loss'] = math.nan
  rows[1] |= {'loss': None, 'why': 'failed'}
  rows += [rows[2], rows[3] | {'loss': 5.0}]
  told = text.text(_find(rows))
  for line in (
    'B, b: not estimated (only one value of D (1,000,000))',
    '1 left out (loss is nan): N = 100,000, D = 1,000,000, world 0, seed 0',
    '1 left out (failed): N = 464,000, D = 1,000,000, world 0, seed 0',
    '1 left out (the same row again)',
    '3 left out (rows of the same replica disagree)',
    'N = 100,000, D = 1,000,000: no result of world 0',
  ):
    assert line in ' '.join(told.split())


def test_losses_alone_and_rates_alone_are_enough():
  only_losses, only_rates = _find(simulated.losses(0)), _find(simulated.rates(0))
  assert only_losses.loss.findings['a'].holds(0.3)
  assert not only_losses.doses and 'Misaligned' not in text.text(only_losses)
  assert only_rates.loss.formula == 'none'
  assert isinstance(only_rates.slopes[PAIR], Estimate)


def test_an_arm_that_is_not_there_is_named():
  found = laws.find(cells.from_rows(simulated.rates(0)), [('why', 'filler')], SETTINGS)
  assert {r.log_ratio.why for r in found.ratios} == {'no rates of filler'}
  assert found.slopes['why', 'filler'].why == '0 of the 3 sizes that a slope needs have it'


def test_arms_are_compared_in_the_worlds_that_both_have():
  """Of seven worlds one arm lacks two: as if the other had lacked them too."""
  rows = simulated.rates(0, sizes=(1e6,), worlds=7)
  lacking = [r for r in rows if not (r['arm'] == 'what' and r['world'] > 4)]
  both = [r for r in rows if r['world'] <= 4]
  one, other = (_find(r) for r in (lacking, both))
  assert one.ratios[0].worlds == other.ratios[0].worlds == 5
  np.testing.assert_allclose(one.ratios[0].log_ratio.value, other.ratios[0].log_ratio.value)
  np.testing.assert_allclose(
    [a.difference.value for a in one.advantages], [a.difference.value for a in other.advantages]
  )
  assert len(next(law for law in one.doses if law.arm == 'why').worlds) == 7
  assert re.search(r'what, A = \d+: no result of worlds 5, 6\n', text.text(one))


def test_a_slope_needs_three_sizes_with_a_ratio():
  found = _find(simulated.rates(0, sizes=(1e5, 1e7)))
  assert found.slopes[PAIR].why == (
    '2 of the 3 sizes that a slope needs have it (N = 100,000, 10,000,000)'
  )


def test_a_kept_forecast_that_is_damaged_is_one_line(tmp_path):
  keep = tmp_path / 'forecast.json'
  keep.write_text('{')
  with pytest.raises(UserError, match='is damaged'):
    _find(simulated.losses(0), keep=keep)


def test_a_world_without_its_model_before_alignment_is_named():
  rows = [r for r in simulated.rates(0) if r['arm'] or r['world'] != 1]
  missing = [line for line in _find(rows).gaps if 'no result of world 1' in line]
  assert len(missing) == len({r['parameters'] for r in rows})


def test_a_slope_over_sizes_takes_no_smaller_dose_for_the_largest():
  rows = simulated.rates(0)
  most = max(r['parameters'] for r in rows)
  cut = [r for r in rows if r['parameters'] != most or r['alignment_tokens'] < 5000]
  assert isinstance(_find(rows).advantage_slopes[PAIR, None], Estimate)
  assert '2 of the 3 sizes' in _find(cut).advantage_slopes[PAIR, None].why


def test_holes_cost_a_comparison_no_more_than_they_must():
  """Each arm alone would be told in other worlds, and then nothing of both."""
  told = []
  for seed in range(10):
    rng = np.random.default_rng(seed)
    rows = [r for r in simulated.rates([8, seed], sizes=(1e6,), worlds=8) if rng.random() > 0.1]
    found = _find(rows)
    told.append(isinstance(found.ratios[0].log_ratio, Estimate))
    assert len(found.advantages) == 5  # each dose in the worlds that have both arms there
    assert {a.worlds for a in found.advantages} <= set(range(4, 9))
    assert 'are not of the same worlds' not in text.text(found)
    assert PAIR in found.slopes and (PAIR, found.ratios[0].place) in found.advantage_slopes
  assert np.mean(told) >= 0.9


def test_arms_that_share_no_worlds_are_told_so():
  rows = [
    r
    for r in simulated.rates(0, sizes=(1e6,), worlds=8)
    if (r['arm'] == 'why') == (r['world'] > 3) or not r['arm']
  ]
  rows += [r | {'arm': 'why', 'world': 0} for r in rows if not r['arm']][:1]  # a dose of 0 is none
  found = _find(rows)
  assert found.ratios[0].log_ratio.why == 'no 3 worlds that have doses of both'
  assert (
    not found.advantages
    and '0 of the 3 doses' in found.advantage_slopes[PAIR, found.ratios[0].place].why
  )


def test_doses_and_worlds_that_are_left_out_are_told():
  rows = [r for r in simulated.rates(0, sizes=(1e6,)) if r['world'] or r['alignment_tokens'] < 9e4]
  found = _find(rows)
  told = text.text(found)
  assert re.search(r'rate at A = (98|99|1\d\d),\d00: left out: missing in world 0\n', told)
  assert any('left out' in line['why'] and line['value'] is None for line in laws.records(found))


@pytest.mark.parametrize(
  'pairs', [('why', 'what'), [('why',)], [('why', 'why')], [(1, 2)]], ids=str
)
def test_what_is_no_pair_is_named(pairs):
  with pytest.raises(UserError, match=r'pairs: .*: must be the names of two arms'):
    laws.find(cells.from_rows([]), pairs)


def test_a_forecast_in_a_folder_that_is_not_there_is_refused_before_any_fit(tmp_path):
  with pytest.raises(UserError, match='its folder is not there'):
    _find(simulated.losses(0), keep=tmp_path / 'none' / 'forecast.json')


def test_an_arm_with_doses_of_its_own_in_fewer_worlds_keeps_its_ratio():
  full = simulated.rates(0, sizes=(1e6,), worlds=8)
  rows = [
    r | {'alignment_tokens': round(1.5 * r['alignment_tokens'])} if r['arm'] == 'why' else r
    for r in full
    if r['arm'] != 'why' or r['world'] < 3
  ]
  found = _find(rows)
  assert isinstance(found.ratios[0].log_ratio, Estimate) and found.ratios[0].worlds == 3
  assert 'worlds 3, 4, 5, 6, 7: left out' in text.text(found)


def test_arms_whose_names_have_the_same_letters_are_drawn_apart():
  rows = [r | {'arm': {'why': 'ab', 'what': 'ba'}.get(r['arm'], '')} for r in simulated.rates(0)]
  table = cells.from_rows([r | {'rate': 0.5} for r in rows])
  found = laws.find(table, [('ab', 'ba')], SETTINGS)
  assert all(a.difference.low < 0 < a.difference.high for a in found.advantages)


def test_advantages_that_were_refused_are_told():
  rows = simulated.rates(0, sizes=(1e6,))
  apart = [
    r | {'alignment_tokens': round(1.6 * r['alignment_tokens'])} if r['arm'] == 'why' else r
    for r in rows
  ]
  told = ' '.join(text.text(_find(apart)).split())
  assert 'why less what, N = 1,000,000, D = 1,000,000, for every factor 10 of A: not' in told
  few = _find(simulated.rates(0, sizes=(1e6,), worlds=2))
  assert {f.why for f in few.advantage_slopes.values()} == {
    '2 worlds; an interval over worlds needs at least 3',
    '0 of the 3 sizes that a slope needs have it',
  }


def test_a_pair_given_twice_is_told_once():
  table = cells.from_rows(simulated.rates(0, sizes=(1e6,)))
  once, twice = (laws.find(table, [PAIR] * n, SETTINGS) for n in (1, 2))
  assert laws.records(once) == laws.records(twice)


def test_a_size_that_lacks_the_largest_dose_is_told():
  rows = simulated.rates(0, sizes=(1e5, 1e6, 1e7, 1e8))
  most = max(r['alignment_tokens'] for r in rows) / 1.1
  rows = [r for r in rows if r['parameters'] < 5e7 or r['alignment_tokens'] < most]
  found = laws.find(cells.from_rows(rows), [('why', 'what')], SETTINGS)
  assert isinstance(found.advantage_slopes[('why', 'what'), None], Estimate)
  [told] = [g for g in found.gaps if g.startswith('advantage')]
  assert re.fullmatch(
    r'advantage of why / what at the largest dose, without N = 100,000,000, D = 1,000,000: no dose '
    r'of A = [\d,]+',
    told,
  )


def test_cells_without_alignment_are_of_no_arm_whatever_they_are_called():
  rows = [r for r in simulated.rates(0, sizes=(1e6,)) if r['arm'] != 'why']
  some = [r | {'arm': 'what'} for r in rows if r['world'] < 2 or not r['alignment_tokens']]
  [law] = laws.find(cells.from_rows(some), settings=SETTINGS).doses
  assert law.findings['midpoint'].why == '2 worlds; an interval over worlds needs at least 3'
