"""Predictions: how far they reach, what is kept of them, and that they are made before they are
compared."""

import dataclasses
import json
import math

import numpy as np
import pytest

from benchmarks import law_coverage as simulated
from whyjax.errors import UserError
from whyjax.scaling import cells, forecast, laws, loss_law
from whyjax.scaling.estimate import Estimate, Refusal
from whyjax.scaling.forecast import Place
from whyjax.scaling.settings import Settings

SETTINGS = Settings(resamples=100)


@pytest.fixture(scope='module')
def table():
  return cells.from_rows(simulated.losses(0)).losses


@pytest.fixture(scope='module')
def law(table):
  return loss_law.fit(table, SETTINGS)


def _place(n, d, compute=None):
  return Place(round(n), round(d), compute or 6.0 * n * d)


def test_a_prediction_within_reach_is_near_the_truth(law):
  near = [_place(2e6, 2e7), _place(5e7, 3e7), _place(2e4, 2e6)]
  for place, found in zip(near, forecast.predict(law, near, SETTINGS), strict=True):
    truth = simulated.loss(simulated.LAW, *place[:2])
    np.testing.assert_allclose(found.value, truth, rtol=0.02)


def test_a_prediction_further_out_is_less_sure(law):
  inside, outside = forecast.predict(law, [_place(1e6, 1e7), _place(9e7, 3e7)], SETTINGS)
  assert np.log(outside.high / outside.low) > 1.5 * np.log(inside.high / inside.low)


@pytest.mark.parametrize(
  'place, sign',
  [
    (_place(2e8, 1e6, 1e15), 'N = 200,000,000 is 20 times beyond the cells of the fit (100,000 to'),
    (_place(1e6, 1e4, 1e12), 'D = 10,000 is 100 times beyond the cells of the fit (1,000,000 to'),
    (_place(9e7, 9e7, 9e16), 'compute = 9e+16 is 50 times beyond'),
  ],
)
def test_a_prediction_too_far_out_is_refused_by_name(law, place, sign):
  [found] = forecast.predict(law, [place], SETTINGS)
  assert isinstance(found, Refusal)
  assert sign in found.why
  assert found.why.endswith('predictions reach 10 times')
  far = dataclasses.replace(SETTINGS, reach=200.0)
  assert isinstance(forecast.predict(law, [place], far)[0], Estimate)


def test_a_law_that_fails_its_check_predicts_nothing(law):
  failing = dataclasses.replace(law, fails='the law misses its own cells')
  [found] = forecast.predict(failing, [_place(1e6, 1e7)], SETTINGS)
  assert found.why == 'not predicted: the law misses its own cells'


def test_a_law_of_one_budget_predicts_no_other():
  places = [(n, 1e6) for n in np.geomspace(1e5, 1e7, 6)]
  law = loss_law.fit(cells.from_rows(simulated.losses(0, places=places)).losses, SETTINGS)
  same, other = forecast.predict(law, [_place(2e6, 1e6), _place(2e6, 2e6)], SETTINGS)
  assert isinstance(same, Estimate)
  assert other.why == 'not predicted: the law is of D = 1,000,000 alone'


def test_the_largest_compute_is_held_out(table):
  seen, largest = forecast.split(table, SETTINGS)
  assert {c.place for c in largest} == {(10_000_000, 30_000_000)}
  assert len(seen) + len(largest) == len(table)
  assert max(c.compute for c in seen) < min(c.compute for c in largest)


def test_a_forecast_does_not_depend_on_what_it_predicts(table):
  """The outcomes of the held-out cells change; the forecast does not."""
  seen, largest = forecast.split(table, SETTINGS)
  spoilt = [dataclasses.replace(c, loss=9.0) for c in largest]
  one, other = (
    forecast.forecast(*forecast_input, SETTINGS)
    for forecast_input in ((seen, forecast.places(g)) for g in (largest, spoilt))
  )
  assert one == other
  errors = [forecast.compare(one, [*seen, *g])[0].error for g in (largest, spoilt)]
  assert abs(errors[0].value) < 0.02
  assert errors[0].holds(0) and not errors[1].holds(0)
  with pytest.raises(UserError, match='is in the fit; a forecast is of other cells'):
    forecast.forecast(table, forecast.places(largest), SETTINGS)


def test_an_error_holds_zero_just_where_the_interval_holds_the_loss(table):
  seen, largest = forecast.split(table, SETTINGS)
  made = forecast.forecast(seen, forecast.places(largest), SETTINGS)
  predicted = made.findings[0]
  for loss, inside in ((predicted.low, 1.001), (predicted.high, 0.999)):
    for factor, held in ((inside, True), (1 / inside, False)):
      observed = [
        dataclasses.replace(largest[0], world=world, loss=loss * factor * np.exp(level))
        for world, level in made.levels.items()
      ]
      assert forecast.compare(made, observed)[0].error.holds(0) == held
      assert forecast.compare(made, observed[:1])[0].error.holds(0)  # of one alone noise is larger


def test_worlds_at_hand_may_be_few_and_others_do_not_count():
  """Worlds apart by a fifth: one alone is compared at its own level."""
  table = cells.from_rows(simulated.losses(0, spread=0.2)).losses
  seen, largest = forecast.split(table, SETTINGS)
  made = forecast.forecast(seen, forecast.places(largest), SETTINGS)
  for world in range(3):
    own = [c for c in largest if c.world == world]
    [compared] = forecast.compare(made, own)
    assert compared.worlds == 1
    assert abs(compared.error.value) < 0.03
  [compared] = forecast.compare(made, [dataclasses.replace(largest[0], world=9)])
  assert compared.error.why == 'no result in the worlds of the forecast'


def test_a_forecast_is_kept_and_never_overwritten(tmp_path, table):
  seen, largest = forecast.split(table, SETTINGS)
  made = forecast.forecast(seen, [*forecast.places(largest), _place(1e9, 1e9)], SETTINGS)
  path = tmp_path / 'forecast.json'
  forecast.write(made, path)
  assert forecast.read(path) == made
  before = path.read_bytes()
  with pytest.raises(UserError, match='is not overwritten'):
    forecast.write(made, path)
  assert path.read_bytes() == before
  assert made.seen == forecast.digest(seen[::-1]) != forecast.digest(table)


def test_a_kept_forecast_of_other_cells_is_told(tmp_path, table):
  rows, path = simulated.losses(0), tmp_path / 'forecast.json'

  def gaps(rows, settings=SETTINGS):
    return laws.find(cells.from_rows(rows), settings=settings, keep=path).gaps

  gaps(rows[:3])
  assert not path.exists(), 'what predicts nothing is not kept'
  assert gaps(rows) == () and gaps(rows) == ()
  other = [r | {'loss': 2 * r['loss']} for r in rows]
  assert gaps(other) == ('the forecast that was kept was made from other cells than these',)
  narrow = dataclasses.replace(SETTINGS, confidence=0.6)
  assert gaps(rows, narrow) == ('the forecast that was kept has 95% intervals',)
  again = [p._replace(compute=2 * p.compute) for p in forecast.read(path).places]
  kept = laws.find(cells.from_rows(rows), settings=SETTINGS, keep=path, planned=again).gaps
  assert [told.split(': ')[0] for told in kept] == [cells.place(p[:2]) for p in again]
  assert 'the forecast that was kept takes' in kept[0]


def test_a_place_is_held_out_in_all_worlds():
  """Where one world's compute is half as much again it lies on two levels of compute."""
  rows = simulated.losses(0)
  for row in rows:
    row['compute'] = row['parameters'] * row['tokens'] * (9.0 if row['world'] == 0 else 6.0)
  seen, largest = forecast.split(cells.from_rows(rows).losses, SETTINGS)
  assert {c.world for c in largest} == {0, 1, 2}
  assert not {c.place for c in seen} & {c.place for c in largest}


@pytest.mark.parametrize(
  'damage',
  [
    lambda text: '',
    lambda text: '[]',
    lambda text: '{}',
    lambda text: '{"findings": [{"value": 1}]}',
    lambda text: json.dumps(json.loads(text) | {'findings': []}),
    lambda text: json.dumps(json.loads(text) | {'confidence': '0.95'}),
    lambda text: json.dumps(json.loads(text) | {'places': [[1, 2, None]]}),
    lambda text: json.dumps(json.loads(text) | {'levels': {'0': math.nan}}),
    lambda text: json.dumps(json.loads(text) | {'formula': 3}),
    lambda text: json.dumps(json.loads(text) | {'levels': {}}),
    lambda text: json.dumps(
      json.loads(text) | {'findings': [{'value': 0.0, 'low': 0.0, 'high': 0.0}]}
    ),
    lambda text: json.dumps(json.loads(text) | {'places': [[10**400, 1, 1.0]]}),
    lambda text: json.dumps(json.loads(text) | {'places': [[0.5, 1, 1.0]]}),
    lambda text: '[' * 100_000,
  ],
)
def test_a_damaged_forecast_is_one_line(tmp_path, table, damage):
  path = tmp_path / 'forecast.json'
  seen, largest = forecast.split(table, SETTINGS)
  forecast.write(forecast.forecast(seen, forecast.places(largest), SETTINGS), path)
  path.write_text(damage(path.read_text()))
  with pytest.raises(UserError, match=r'forecast\.json: is damaged'):
    forecast.read(path)
  with pytest.raises(UserError, match='cannot be read'):
    forecast.read(tmp_path / 'none.json')


@pytest.mark.parametrize(
  'place',
  [
    (10**7, 10**8, float('nan')),
    (0, 1, 1.0),
    (-5, 1, 1.0),
    (5, 1),
    (5, 1, '1'),
    (5, 1, True),
    (10**400, 1, 1.0),
    (0.5, 1, 1.0),
    b'abc',
    {3, 4, 5},
    7,
  ],
  ids=str,
)
def test_a_planned_cell_that_cannot_be_is_named(place):
  told = r'planned: .*: parameters(, tokens and compute must be| and tokens must be whole) numbers'
  with pytest.raises(UserError, match=told):
    laws.find(cells.from_rows([]), planned=[place])


def test_a_planned_cell_has_one_compute():
  planned = [_place(2e7, 3e7), _place(2e7, 3e7), _place(2e7, 3e7, 4e15)]
  assert forecast.checked(planned[:2]) == planned[:1]
  with pytest.raises(UserError, match='N = 20,000,000, D = 30,000,000: is there twice, with diff'):
    forecast.checked(planned)


def test_a_kept_forecast_of_other_cells_than_the_planned_is_refused(tmp_path):
  rows, path = cells.from_rows(simulated.losses(0)), tmp_path / 'forecast.json'
  planned = [tuple(_place(2e7, 3e7))]
  found = laws.find(rows, settings=SETTINGS, planned=planned, keep=path)
  assert found.forecast.places == (Place(*planned[0]),)
  again = laws.find(rows, settings=SETTINGS, planned=planned, keep=path)
  assert again.forecast == found.forecast
  with pytest.raises(
    UserError, match='is a forecast of N = 20,000,000, D = 30,000,000: other cells'
  ):
    laws.find(rows, settings=SETTINGS, planned=[_place(3e7, 3e7)], keep=path)


def test_of_two_budgets_the_law_is_of_the_one_that_is_held_out():
  places = [(n, d) for n in np.geomspace(1e5, 1e7, 5) for d in (1e6, 3e6)]
  found = laws.find(cells.from_rows(simulated.losses(0, places=places)), settings=SETTINGS)
  assert isinstance(found.forecast.findings[0], Estimate)
  assert found.compared[0].error.holds(0)


def test_planned_numbers_of_numpy_are_kept_and_a_cell_given_twice_is_told_once(tmp_path):
  rows, path = cells.from_rows(simulated.losses(0)), tmp_path / 'forecast.json'
  planned = [(np.int64(2 * 10**7), np.int64(3 * 10**7), np.float32(3.6e15))] * 2
  found = laws.find(rows, settings=SETTINGS, planned=planned, keep=path)
  assert len(found.forecast.places) == 1 and forecast.read(path) == found.forecast
