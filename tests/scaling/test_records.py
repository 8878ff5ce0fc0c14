"""Laws of the records of a study, and the forecasts that its workdir keeps."""

import math

import pytest

from benchmarks import law_coverage as simulated
from whyjax.scaling import records as law_table
from whyjax.scaling.estimate import Estimate

WORLD = (80, 3)


@pytest.fixture(scope='module')
def records():
  config = {
    'scaling': {'what': 'demonstrations'},
    'arms': ['demonstrations', 'reason'],
    'statistics': {'confidence': 0.95},
  }
  return [{'record': 'study', 'config': config}, *map(_loss, simulated.losses(0))]


def _loss(row):
  given = {'record': 'loss', 'arm': '', 'agents': WORLD[0], 'domains': WORLD[1]}
  given |= {'non_embedding': row['parameters'], 'budget': row['tokens']}
  given |= {'compute': 6.0 * row['parameters'] * row['tokens']}
  return given | {name: row[name] for name in ('world', 'seed', 'loss')}


def _changed(records, held_out):
  """The records with 5% more loss in the largest cells, or in all others."""
  most = max(r.get('compute', 0) for r in records)

  def other(r):
    return r | {'loss': 1.05 * r['loss']} if (r['compute'] == most) == held_out else r

  return [records[0], *map(other, records[1:])]


def test_a_study_keeps_its_forecast_whatever_the_largest_cells_come_to(records, tmp_path):
  first = law_table.find(records, tmp_path)[WORLD, 'forced']
  [kept] = tmp_path.iterdir()
  before = kept.read_bytes()
  [predicted] = first.forecast.findings
  assert isinstance(predicted, Estimate) and first.compared[0].error.holds(0)

  again = law_table.find(_changed(records, held_out=True), tmp_path)[WORLD, 'forced']
  assert again.forecast == first.forecast and not again.gaps
  [one], [other] = first.compared, again.compared
  assert math.isclose(1 + other.error.value, 1.05 * (1 + one.error.value))
  assert [kept] == list(tmp_path.iterdir()) and kept.read_bytes() == before


def test_a_forecast_from_other_cells_is_another(records, tmp_path):
  law_table.find(records, tmp_path)
  [kept] = tmp_path.iterdir()
  before = kept.read_bytes()
  found = law_table.find(_changed(records, held_out=False), tmp_path)[WORLD, 'greedy']
  assert len(list(tmp_path.iterdir())) == 2 and kept.read_bytes() == before
  assert not found.gaps
  assert math.isclose(
    found.forecast.findings[0].value,
    1.05 * law_table.find(records)[WORLD, 'greedy'].forecast.findings[0].value,
    rel_tol=1e-3,
  )
