"""Forced and free-running scores against plain computations of the same things."""

import dataclasses

import jax
import numpy as np
import pytest

from whyjax import config, defaults, results
from whyjax.corpus.vocabulary import END, vocabulary
from whyjax.evals import batteries, scoring
from whyjax.evals.evaluate import evaluate
from whyjax.model import transformer
from whyjax.training import hlo
from whyjax.training import mesh as meshes

ITEMS = 24


def _study():
  tree = defaults.study()
  tree.model.update(dict(width=16, layers=2, heads=2, kv_heads=1, head_dim=8, mlp_width=24))
  tree.evals.update(dict(battery_items=ITEMS, max_new_tokens=5, samples=2))
  return config.parse(tree.to_dict())


STUDY = _study()
WORDS = vocabulary(STUDY.world)
REPLICAS = [(3, 0), (3, 1), (4, 0), (4, 1)]


@pytest.fixture(scope='module')
def mesh():
  return meshes.make_mesh(STUDY.device, len(REPLICAS), 2)


@pytest.fixture(scope='module')
def params():
  init = jax.vmap(lambda key: transformer.init(STUDY.model, WORDS.size, key))
  grown = jax.tree.map(lambda x: 3 * x, init(jax.random.split(jax.random.key(0), len(REPLICAS))))
  # Replicas 0 and 1 are one model: on the same world they must answer alike.
  return jax.tree.map(lambda x: x.at[1].set(x[0]), grown)


def _items(name, items=ITEMS):
  def build(world):
    return batteries.build(STUDY.world, STUDY.pretrain_text, STUDY.align_text, name, items, world)

  return [build(world) for world, _ in REPLICAS]


def _logits(params, r, tokens):
  """Of the token after these. Rows of one length, so that one program serves all of them: what
  stands behind a token is nothing to it."""
  one = jax.tree.map(lambda x: x[r], params)
  row = np.pad(tokens, (0, 128 - len(tokens)))[None]
  return np.asarray(_forward(one, row))[0, len(tokens) - 1]


@jax.jit
def _forward(params, tokens):
  places = np.arange(tokens.shape[1])[None]
  return transformer.forward(STUDY.model, params, tokens, places, np.ones_like(places))


def test_forced_margin_is_the_mean_log_odds_of_both_orders(params, mesh):
  items = _items('agentic-tools')
  outcomes, margin = scoring.Scorer(STUDY.model, mesh, STUDY.device).forced(params, items)
  for r, i in ((0, 0), (2, 5), (3, 11)):
    battery = items[r]
    found, mass = [], []
    for prompts in battery.forced:
      logp = np.asarray(
        jax.nn.log_softmax(_logits(params, r, prompts.tokens[i, : prompts.lengths[i]]))
      )
      found.append(logp[battery.right[i]] - logp[battery.wrong[i]])
      mass.append(np.exp(logp[[battery.right[i], battery.wrong[i]]]).sum())
    assert margin[r, i] == pytest.approx(np.mean(found), abs=1e-3)
    expected = 'o' if np.mean(mass) < 0.5 else 'a' if np.mean(found) > 0 else 'm'
    assert outcomes[r, i] == expected


def test_exchanging_right_and_wrong_turns_the_margin(params, mesh):
  items = _items('in-distribution')
  exchanged = [dataclasses.replace(b, right=b.wrong, wrong=b.right) for b in items]
  scorer = scoring.Scorer(STUDY.model, mesh, STUDY.device)
  np.testing.assert_allclose(
    scorer.forced(params, items)[1], -scorer.forced(params, exchanged)[1], rtol=1e-6
  )


def test_greedy_writing_is_the_likeliest_token_each_time(params, mesh):
  items = _items('heldout-domain')
  _, written = scoring.Scorer(STUDY.model, mesh, STUDY.device).free(params, items, 4, 0.0, 0)
  for r, i in ((0, 2), (3, 7)):
    tokens = items[r].free.tokens[i, : items[r].free.lengths[i]].tolist()
    for token in written[r, i]:
      assert token == _logits(params, r, tokens).argmax()
      tokens.append(int(token))
      if token == END:
        break


def test_equal_models_answer_alike_and_samples_follow_their_seed(params, mesh):
  scorer = scoring.Scorer(STUDY.model, mesh, STUDY.device)
  items = _items('agentic-tools')
  greedy, _ = scorer.free(params, items, 4, 0.0, 0)
  np.testing.assert_array_equal(greedy[0], greedy[1])
  first, again, other = (scorer.free(params, items, 4, 1.0, seed)[1] for seed in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any() and (first[0] != first[1]).any()


@pytest.mark.parametrize('shape', [(1, 8, 1), (2, 4, 1), (1, 2, 2)])
def test_items_spread_over_devices_are_scored_alike(params, mesh, shape):
  """Also where the devices do not divide them."""
  items = _items('agentic-tools', ITEMS - 2)
  sizes = dict(zip(('mesh_replica', 'mesh_data', 'mesh_model'), shape, strict=True))
  device = dataclasses.replace(STUDY.device, **sizes)
  spread = meshes.make_mesh(device, len(REPLICAS), 8)
  placed = jax.device_put(params, meshes.param_sharding(spread, params))
  plain, ours = (scoring.Scorer(STUDY.model, m, device) for m in (mesh, spread))
  np.testing.assert_allclose(
    ours.forced(placed, items)[1], plain.forced(params, items)[1], atol=1e-3
  )
  for temperature in (0.0, 1.0):
    np.testing.assert_array_equal(
      ours.free(placed, items, 4, temperature, 1)[1],
      plain.free(params, items, 4, temperature, 1)[1],
    )


def test_spread_items_need_the_weights_once_and_no_exchange_of_activations(params):
  device = dataclasses.replace(STUDY.device, mesh_replica=1, mesh_data=8)
  mesh = meshes.make_mesh(device, len(REPLICAS), 8)

  def shape(x, sharding):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

  placed = jax.tree.map(shape, params, meshes.param_sharding(mesh, params))
  for function, arguments in (
    scoring.Scorer(STUDY.model, mesh, device).programs(placed, 20, 4).values()
  ):
    found = hlo.collectives(function.lower(*arguments).compile().as_text())
    assert sum(c.bytes for c in found if c.kind == 'all-gather') > 0
    # What is left says whether all rows have ended.
    assert all(c.bytes <= 4 for c in found if c.kind != 'all-gather'), found


def test_reading_tells_four_outcomes_apart():
  battery = _items('agentic-tools')[0]
  right, wrong = int(battery.right[0]), int(battery.wrong[0])
  other = next(int(t) for t in np.flatnonzero(battery.answers) if t not in (right, wrong))
  filler = WORDS.ids['since']
  cases = {
    'a': [[right, END, END], [filler, right, wrong], [filler, filler, right]],
    'm': [[wrong, END, right], [filler, wrong, END]],
    'o': [[other, right, END]],
    'x': [[filler, filler, filler], [END, right, END], [filler, END, wrong]],
  }
  for outcome, rows in cases.items():
    written = np.array(rows)
    same = dataclasses.replace(
      battery, right=np.full(len(rows), right), wrong=np.full(len(rows), wrong)
    )
    assert scoring.read(written, same).tolist() == [outcome] * len(rows)


def test_a_scorer_fed_the_oracle_is_perfect():
  for name in STUDY.evals.batteries:
    battery = _items(name)[0]
    assert (scoring.read(battery.right[:, None], battery) == 'a').all()
    assert (scoring.read(battery.wrong[:, None], battery) == 'm').all()


def test_records_are_whole_and_count_what_they_hold(params, mesh):
  stage = dict(stage='align/reason', kind='align', arm='reason', later='')
  records = evaluate(STUDY, stage, REPLICAS, params, mesh)
  for record in records:
    results.validate(dict(record, schema=results.SCHEMA, run={}))
  evals = results.select(records, record='eval')
  assert len(evals) == len(STUDY.evals.batteries) * 3 * len(REPLICAS)
  for e in evals:
    counts = [e['outcomes'].count(letter) for letter in 'amox']
    assert counts == [e[k] for k in ('aligned', 'misaligned', 'other', 'malformed')]
    assert e['n'] == len(e['outcomes']) == ITEMS * (2 if e['scoring'] == 'sampled' else 1)
    assert e['scored'] == (e['malformed'] / e['n'] <= STUDY.evals.malformed_gate)
    assert (e['rate'] is None) == (not e['scored']) == bool(e['why'])
    assert (e['margin'] is None) == (e['scoring'] != 'forced')
  assert len(results.select(records, record='loss')) == len(REPLICAS)
  assert all(t['seed'] == 0 for t in results.select(records, record='transcript'))
