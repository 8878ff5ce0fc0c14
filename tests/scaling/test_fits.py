"""Known laws must come back inside their intervals; grids that show no law are refused with a
reason."""

import json

import numpy as np
import pytest

from whyjax import results
from whyjax.scaling import fits

SIZES = {'100k': 1e5, '300k': 3e5, '1m': 1e6, '3m': 3e6, '10m': 1e7}
TRUTH = {'E': 1.2, 'A': 30.0, 'a': 0.3, 'B': 400.0, 'b': 0.4}


def _study(law, sizes=SIZES, budgets=(1e7,), worlds=2, noise=0.002, spread=0.002, seed=0):
  """The records of a study whose losses follow `law`, but for noise of each run and a level of each
  world."""
  rng = np.random.default_rng(seed)
  levels = rng.normal(0, spread, worlds)
  records = [{'record': 'study', 'name': 'scaling'}]
  for size, n in sizes.items():
    for budget in budgets:
      stage = f'pretrain/{size}/{budget / 1e4:.0f}'
      records.append(
        {
          'record': 'stage',
          'kind': 'pretrain',
          'stage': stage,
          'parameters': int(n),
          'tokens': int(budget),
        }
      )
      for world in range(worlds):
        loss = law(n, budget) * np.exp(levels[world] + rng.normal(0, noise))
        records.append(
          {'record': 'loss', 'stage': stage, 'world': world, 'seed': 0, 'loss': float(loss)}
        )
  return records


def _by_size(n, d):
  del d
  return TRUTH['E'] + TRUTH['A'] / n ** TRUTH['a']


def _by_size_and_tokens(n, d):
  return _by_size(n, d) + TRUTH['B'] / d ** TRUTH['b']


def _covered(fit) -> set[str]:
  return {name for name, p in fit['parameters'].items() if p['low'] <= TRUTH[name] <= p['high']}


def test_law_of_size_is_recovered():
  [fit] = fits.fit_records(_study(_by_size))
  assert _covered(fit) == {'E', 'A', 'a'}
  exponent = fit['parameters']['a']
  assert exponent['low'] < exponent['value'] < exponent['high'] < 2 * exponent['low']
  assert 0.0005 < fit['residual'] < 0.005


def test_law_of_size_and_tokens_is_recovered():
  records = _study(_by_size_and_tokens, budgets=(1e6, 3e6, 1e7, 3e7))
  by_size, by_both = fits.fit_records(records)
  assert _covered(by_both) == {'E', 'A', 'a', 'B', 'b'}
  assert {p['tokens'] for p in by_size['points']} == {3e7}, 'the law of size holds at one budget'
  assert len(by_both['points']) == 5 * 4 * 2


def test_a_loss_without_a_floor_has_an_interval_down_to_zero():
  [fit] = fits.fit_records(_study(lambda n, d: TRUTH['A'] / n ** TRUTH['a'], noise=0.01))
  assert fit['parameters']['E']['low'] == 0
  assert _covered(fit) >= {'A', 'a'}


def test_intervals_widen_with_noise_and_narrow_with_worlds():
  def width(**changes):
    exponent = fits.fit_records(_study(_by_size, spread=0.0, **changes))[0]['parameters']['a']
    return exponent['high'] - exponent['low']

  assert width(noise=0.0005) < width(noise=0.004)
  assert width(noise=0.002, worlds=8) < width(noise=0.002, worlds=2)


def test_one_run_far_off_hardly_moves_the_fit():
  records = _study(_by_size, worlds=4)
  spoilt = [dict(r) for r in records]
  next(r for r in spoilt if r['record'] == 'loss' and '/1m/' in r['stage'])['loss'] *= 1.3
  [clean], [moved] = fits.fit_records(records), fits.fit_records(spoilt)
  assert abs(moved['parameters']['a']['value'] - clean['parameters']['a']['value']) < 0.03


@pytest.mark.parametrize(
  'sizes, budgets, why',
  [
    (3, (1e7,), '3 cells'),
    (2, (1e6, 3e6, 1e7), '2 values of N (100,000, 300,000)'),
    (1, (1e7,), 'only one value of N (100,000)'),
  ],
)
def test_too_few_cells_are_refused_however_many_seeds(sizes, budgets, why):
  grid = dict(list(SIZES.items())[:sizes])
  fit = fits.fit_records(_study(_by_size_and_tokens, sizes=grid, budgets=budgets, worlds=8))[-1]
  assert fit['parameters'] is None
  assert why in fit['why']
  assert len(fit['points']) == sizes * len(budgets) * 8, (
    'the points stand in the record all the same'
  )


def test_a_law_that_misses_its_points_is_not_told():
  """Losses that fall in a step, the same in four worlds: noise is small, the misfit is not."""
  [fit] = fits.fit_records(_study(lambda n, d: 2.0 if n < 5e5 else 1.7, worlds=4))
  assert fit['parameters'] is None
  assert fit['why']


@pytest.mark.parametrize(
  'law', [lambda n, d: 2.0, lambda n, d: 1.0 + n**0.02], ids=['flat', 'rising']
)
def test_a_loss_without_a_power_law_gets_no_exponent(law):
  [fit] = fits.fit_records(_study(law, noise=0.01))
  assert fit['parameters'] is None
  assert fit['why']


def test_equal_records_give_equal_fits_that_the_results_file_takes(tmp_path):
  records = _study(_by_size)
  found = fits.fit_records(records)
  assert json.dumps(found) == json.dumps(fits.fit_records(records))
  results.write(tmp_path / 'results.jsonl', found)
  assert results.read(tmp_path / 'results.jsonl')[0]['parameters'] == found[0]['parameters']


def test_a_study_of_arms_has_no_law():
  records = []
  for kind, stage in (('pretrain', 'pretrain'), ('later', 'later/reason/neutral')):
    records += [
      {'record': 'stage', 'kind': kind, 'stage': stage, 'parameters': 10, 'tokens': 10},
      {'record': 'loss', 'stage': stage, 'world': 0, 'seed': 0, 'loss': 1.0},
    ]
  assert fits.fit_records(records) == []
