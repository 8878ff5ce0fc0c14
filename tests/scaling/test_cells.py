"""Rows that can't be are refused by name; rows that say nothing are left out, and said so."""

import math

import numpy as np
import pytest

from whyjax.errors import UserError
from whyjax.scaling import cells

ROW = {'parameters': 1000, 'tokens': 5000, 'world': 0, 'seed': 0, 'loss': 2.0}
RATE = ROW | {'loss': None, 'arm': 'reason', 'alignment_tokens': 100, 'rate': 0.25, 'items': 40}


def test_compute_is_six_n_d_unless_it_is_given():
  given, assumed = cells.from_rows([ROW | {'compute': 7e7}, ROW | {'world': 1}]).cells
  assert given.compute == 7e7
  assert assumed.compute == 6 * 1000 * 5000


def test_losses_are_of_pretrained_models_and_rates_of_all():
  aligned = RATE | {'loss': 1.5}
  table = cells.from_rows([ROW, aligned])
  assert table.left_out[0].startswith(
    '1 left out (a loss beside an arm: laws are of pretraining): N = 1,000, '
  )
  assert [c.arm for c in table.losses] == ['']
  assert [c.rate for c in table.rates] == [0.25]


@pytest.mark.parametrize(
  'change, told',
  [
    ({'parameters': 0}, 'row 0: parameters = 0: must be above 0'),
    ({'tokens': 1.5}, 'row 0: tokens = 1.5: must be a whole number, below 2^63'),
    ({'seed': 2**63}, f'row 0: seed = {2**63}: must be a whole number, below 2^63'),
    ({'loss': True}, 'row 0: loss = True: must be a number or null'),
    ({'world': None}, 'row 0: world = None: must be a whole number, below 2^63'),
    ({'loss': -1.0}, 'row 0: loss = -1.0: must be above 0'),
    ({'rate': 1.2, 'items': 9}, 'row 0: rate = 1.2: must be between 0 and 1'),
    ({'rate': 0.2}, 'row 0: items = 0: must be above 0 where there is a rate'),
    ({'compute': 0.0}, 'row 0: compute = 0.0: must be above 0'),
    ({'compute': math.nan}, 'row 0: compute = nan: must be above 0'),
    (
      {'alignment_tokens': -1},
      'row 0: alignment_tokens = -1: must be a whole number, at least 0 and below 2^63',
    ),
    ({'loss': '1.2'}, "row 0: loss = '1.2': must be a number or null"),
    (
      {'losss': 1.0},
      'row 0: column losss is unknown; columns are parameters, tokens, world, seed, compute, arm, '
      'alignment_tokens, loss, rate, items, why',
    ),
    ({'alignment_tokens': 5}, 'row 0: alignment_tokens = 5: must be 0 without an arm'),
    ({'arm': None}, 'row 0: arm = None: must be the name of an arm, or empty'),
  ],
)
def test_a_value_that_cannot_be_is_named(change, told):
  with pytest.raises(UserError) as error:
    cells.from_rows([ROW | change])
  assert str(error.value) == told


def test_a_missing_column_is_named():
  with pytest.raises(UserError, match='row 1: column tokens is missing'):
    cells.from_rows([ROW, {'parameters': 1, 'world': 0, 'seed': 0}])


def test_rows_without_a_result_are_left_out_with_their_reason():
  failed = ROW | {'loss': None, 'why': 'failed: exit code 1', 'world': 3}
  table = cells.from_rows([ROW, ROW | {'world': 1, 'loss': math.nan}, failed])
  assert [c.world for c in table.cells] == [0]
  assert table.left_out == (
    '1 left out (failed: exit code 1): N = 1,000, D = 5,000, world 3, seed 0',
    '1 left out (loss is nan): N = 1,000, D = 5,000, world 1, seed 0',
  )


def test_a_loss_that_is_none_does_not_take_the_rate_with_it():
  bad = [{'loss': np.float64('nan'), 'world': 1}, {'loss': math.inf, 'world': 2}]
  table = cells.from_rows([ROW, *(ROW | {'rate': 0.5, 'items': 10} | change for change in bad)])
  assert [c.world for c in table.losses] == [0] and [c.world for c in table.rates] == [1, 2]
  assert [why.split(':')[0] for why in table.left_out] == [
    '1 left out (loss is inf)',
    '1 left out (loss is nan)',
  ]


def test_numbers_of_numpy_are_numbers():
  row = ROW | {'loss': np.float32(2.5), 'parameters': np.int64(1000)}
  assert [c.loss for c in cells.from_rows([row]).losses] == [2.5]


def test_the_same_row_counts_once_and_rows_that_disagree_not_at_all():
  other = ROW | {'world': 1}
  table = cells.from_rows([ROW, ROW, other, other | {'loss': 2.1}])
  assert [(c.world, c.loss) for c in table.cells] == [(0, 2.0)]
  assert table.left_out[0].startswith('2 left out (rows of the same replica disagree): ')
  assert table.left_out[1].startswith('1 left out (the same row again): ')


def test_loss_and_rate_of_one_model_may_stand_in_two_rows():
  rate = ROW | {'loss': None, 'rate': 0.5, 'items': 40}
  for rows in ([ROW | {'compute': 7e7}, rate], [rate, ROW | {'compute': 7e7}]):
    [cell] = cells.from_rows(rows).cells
    assert (cell.loss, cell.rate, cell.items, cell.compute) == (2.0, 0.5, 40, 7e7)


def test_holes_of_the_grid_are_named():
  rows = [ROW | {'world': w, 'tokens': d} for w in range(3) for d in (10, 20)]
  del rows[3]  # world 1, 20 tokens
  # The same dose, which comes to a few tokens more in another world.
  found = cells.from_rows([*rows, RATE, RATE | {'world': 2, 'alignment_tokens': 103}]).cells
  assert cells.missing(found) == [
    'N = 1,000, D = 20: no result of world 1',
    'N = 1,000, D = 5,000, reason, A = 100: no result of world 1',
  ]


def test_two_doses_of_one_world_are_two_however_near():
  given = {0: (1000, 1150), 1: (1010, 1160), 2: (1160,)}
  rows = [RATE | {'world': w, 'alignment_tokens': a} for w, own in given.items() for a in own]
  doses = cells.doses(cells.from_rows(rows).cells)
  assert [[(c.world, c.alignment_tokens) for c in dose] for dose in doses] == [
    [(0, 1000), (1, 1010)],
    [(0, 1150), (1, 1160), (2, 1160)],
  ]


@pytest.mark.parametrize('odd', [0, 3])
def test_which_doses_are_one_does_not_hang_on_the_names_of_worlds(odd):
  rows = [RATE | {'world': w, 'alignment_tokens': 1150} for w in range(4)]
  rows.append(RATE | {'world': odd, 'alignment_tokens': 1000})
  doses = cells.doses(cells.from_rows(rows).cells)
  assert [[c.world for c in dose] for dose in doses] == [[odd], [0, 1, 2, 3]]


@pytest.mark.parametrize('row', [None, 3, 'a', [1]])
def test_a_row_that_is_no_mapping_is_named(row):
  with pytest.raises(UserError, match=r'row 1 = .*: must be a mapping'):
    cells.from_rows([ROW, row])


def test_a_dose_of_0_is_there_under_any_name():
  rows = [RATE | {'world': w, 'arm': arm, 'alignment_tokens': 0} for w, arm in enumerate(('', 'a'))]
  assert cells.missing(cells.from_rows(rows).cells) == []


def test_levels_hold_what_differs_by_less_than_a_factor():
  found = cells.from_rows([ROW | {'tokens': d} for d in (100, 115, 124, 150, 400)]).cells
  levels = [[c.tokens for c in level] for level in cells.levels(found, 1.25)]
  assert levels == [[100, 115, 124], [150], [400]]


def test_seeds_of_a_world_whose_doses_differ_by_a_token_have_one_dose():
  rows = [
    RATE | {'world': w, 'seed': s, 'alignment_tokens': 1000 + 3 * w + s}
    for w in range(3)
    for s in (0, 1)
  ]
  assert [len(dose) for dose in cells.doses(cells.from_rows(rows).cells)] == [6]


def test_what_came_out_a_little_off_joins_the_nearest_dose():
  """World 1 lacks the smaller of two doses that are close, and its larger one came out smaller."""
  row = {'parameters': 1000, 'tokens': 20, 'seed': 0, 'arm': 'what', 'items': 10, 'rate': 0.5}
  given = [(w, a) for w in range(4) for a in (1000, 1180) if (w, a) != (1, 1000)]
  given[given.index((1, 1180))] = (1, 1175)
  rows = [row | {'world': w, 'alignment_tokens': a} for w, a in given]
  table = cells.from_rows(rows).cells
  assert [[c.world for c in dose] for dose in cells.doses(table)] == [[0, 2, 3], [1, 0, 2, 3]]
  assert cells.missing(table) == ['N = 1,000, D = 20, what, A = 1,000: no result of world 1']


def test_numbers_that_no_float_holds_are_left_out():
  table = cells.from_rows([ROW | {'loss': 10**400}])
  assert not table.cells and table.left_out[0].startswith('1 left out (loss is 1000')
