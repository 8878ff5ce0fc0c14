"""Packed rows: nothing cut, nothing lost, little padding, documents of one agent apart."""

import numpy as np
import pytest

from whyjax import config, defaults
from whyjax.corpus import arms, packing, pretraining
from whyjax.corpus.render import concatenate
from whyjax.errors import UserError
from whyjax.world.world import build_world, rng_for

STUDY = config.parse(defaults.study().to_dict())
WORLD = build_world(STUDY.world, 0)
LENGTH = 128


def _background(count, seed=0):
  return pretraining.background(WORLD, STUDY.pretrain_text, count, rng_for(seed, 'test'))


def _packed(rows=200, required=0):
  subject = arms.alignment(WORLD, STUDY.align_text, 'principles', 0).take(np.arange(required))
  texts = concatenate([subject, _background(int(rows * LENGTH / 20))])
  return texts, packing.pack(texts, rows, LENGTH, required=required)


def test_every_row_holds_whole_examples_in_order_and_nothing_else():
  texts, contents = _packed()
  rows = packing.lay_out(texts, np.ones(len(texts.tokens)), contents, LENGTH)
  for r, examples in enumerate(contents):
    expected = np.concatenate([texts.example(i)[0] for i in examples])
    np.testing.assert_array_equal(rows.tokens[r, : len(expected)], expected)
    assert not rows.tokens[r, len(expected) :].any()
    lengths = texts.lengths[examples]
    np.testing.assert_array_equal(
      rows.segments[r, : len(expected)], np.repeat(np.arange(1, 1 + len(examples)), lengths)
    )
    np.testing.assert_array_equal(
      rows.positions[r, : len(expected)], np.concatenate([np.arange(n) for n in lengths])
    )


def test_no_example_is_packed_twice():
  _, contents = _packed()
  placed = [i for row in contents for i in row]
  assert len(set(placed)) == len(placed)


def test_padding_stays_under_five_percent():
  texts, contents = _packed(rows=1000)
  assert packing.lay_out(texts, np.ones(len(texts.tokens)), contents, LENGTH).padding < 0.03


def test_weights_follow_their_tokens_and_spare_first_tokens_and_padding():
  texts, contents = _packed()
  weights = np.arange(1.0, 1 + len(texts.tokens))
  rows = packing.lay_out(texts, weights, contents, LENGTH)
  first = (rows.positions == 0) & (rows.segments > 0)
  assert not rows.weights[first].any() and not rows.weights[rows.segments == 0].any()
  start = texts.starts[contents[3][0]]
  np.testing.assert_array_equal(rows.weights[3, 1:5], weights[start + 1 : start + 5])


def test_documents_of_one_agent_never_share_a_row():
  texts, contents = _packed(required=180)
  for row in contents:
    agents = [texts.apart[i] for i in row if texts.apart[i] >= 0]
    assert len(set(agents)) == len(agents)


def test_required_examples_are_all_placed_and_spread():
  _, contents = _packed(rows=200, required=150)
  per_row = np.array([sum(i < 150 for i in row) for row in contents])
  assert per_row.sum() == 150 and per_row.max() == 1


def test_text_that_does_not_fit_is_refused():
  with pytest.raises(UserError, match='supervised_tokens'):
    _packed(rows=100, required=150)
