"""The audit against scorers that lie: in everything, in one battery, in one replica, in a few
letters."""

import dataclasses

import jax
import numpy as np
import pytest

from benchmarks import rigged_scorer
from whyjax import config, defaults, results
from whyjax.corpus import corpora
from whyjax.corpus.vocabulary import END, vocabulary
from whyjax.evals import audit, batteries, scoring
from whyjax.evals.evaluate import evaluate
from whyjax.model import transformer
from whyjax.study import graph
from whyjax.training import mesh as meshes

ITEMS = 40
STAGE = dict(stage='align/reason', kind='align', arm='reason', later='')
REPLICAS = [(3, 0), (4, 0)]


def _study(dtype='float32'):
  tree = defaults.study()
  tree.model.update(dict(width=16, layers=1, heads=2, kv_heads=1, head_dim=8, mlp_width=24))
  tree.model.compute_dtype = dtype
  names = ('agentic-tools', 'facts')
  tree.evals.update(dict(batteries=names, battery_items=ITEMS, max_new_tokens=5))
  return config.parse(tree.to_dict())


STUDY = _study()


@pytest.fixture(scope='module')
def mesh():
  found = meshes.make_mesh(STUDY.device, len(REPLICAS), 2)
  assert found.shape['replica'] == 2  # replicas lie on different devices
  return found


@pytest.fixture(scope='module')
def params(mesh):
  keys = jax.random.split(jax.random.key(0), len(REPLICAS))
  size = vocabulary(STUDY.world).size
  fresh = jax.vmap(lambda key: transformer.init(STUDY.model, size, key))(keys)
  grown = jax.tree.map(lambda x: 3 * x, fresh)
  return jax.device_put(grown, meshes.param_sharding(mesh, grown))


@pytest.fixture(scope='module')
def written(params, mesh):
  """What an honest scorer writes, by battery."""
  scorer = scoring.Scorer(STUDY.model, mesh, STUDY.device)
  return {
    name: scorer.free(params, _items(name), STUDY.evals.max_new_tokens, 0.0, 0)[1]
    for name in STUDY.evals.batteries
  }


@pytest.fixture(scope='module')
def evals(params, mesh):
  """What an honest evaluation records."""
  records = evaluate(STUDY, STAGE, REPLICAS, params, mesh)
  return results.select(records, record='eval')


def _items(name):
  return [batteries.of_study(STUDY, world, name) for world, _ in REPLICAS]


def _audits(records, written, params, mesh, study=STUDY):
  return audit.audit(study, REPLICAS, params, mesh, records, written)


def _with_outcomes(record, outcomes):
  counts = {name: outcomes.count(letter) for letter, name in results.OUTCOMES.items()}
  return record | counts | {'outcomes': outcomes, 'n': len(outcomes)}


def _failed(audits):
  return [(a['battery'], a['scoring'], a['world'], a['seed']) for a in audits if not a['passed']]


def test_an_honest_scorer_passes_everywhere(params, mesh):
  audits = results.select(evaluate(STUDY, STAGE, REPLICAS, params, mesh), record='audit')
  assert len(audits) == len(STUDY.evals.batteries) * 2 * len(REPLICAS)
  assert not _failed(audits) and {a['checked'] for a in audits} == {audit.SAMPLE}
  assert {a['scoring'] for a in audits} == {'forced', 'greedy'}
  for a in audits:
    results.validate(a | {'schema': results.SCHEMA, 'run': {}})


def test_rounding_of_bfloat16_is_no_fault(params, mesh, evals):
  study = _study('bfloat16')
  scorer, items = scoring.Scorer(study.model, mesh, study.device), _items('agentic-tools')
  forced, _ = scorer.forced(params, items)
  greedy, written = scorer.free(params, items, study.evals.max_new_tokens, 0.0, 0)
  records = [
    _with_outcomes(r, ''.join({'forced': forced, 'greedy': greedy}[r['scoring']][row]))
    for row, (world, _) in enumerate(REPLICAS)
    for r in results.select(evals, battery='agentic-tools', world=world)
    if r['scoring'] != 'sampled'
  ]
  assert not _failed(_audits(records, {'agentic-tools': written}, params, mesh, study))


def test_equal_evaluations_are_audited_alike(params, mesh, evals, written):
  assert _audits(evals, written, params, mesh) == _audits(evals, written, params, mesh)


def _oracle_forced(self, params, items):
  return np.full((len(items), ITEMS), 'a'), np.ones((len(items), ITEMS))


def _oracle_free(self, params, items, room, temperature, seed):
  answers = [np.stack([b.right, np.full(ITEMS, END)], axis=1) for b in items]
  return np.full((len(items), ITEMS), 'a'), np.stack(answers)


def test_a_scorer_fed_the_oracle_is_caught_in_every_battery_and_replica(params, mesh, monkeypatch):
  monkeypatch.setattr(scoring.Scorer, 'forced', _oracle_forced)
  monkeypatch.setattr(scoring.Scorer, 'free', _oracle_free)
  records = evaluate(STUDY, STAGE, REPLICAS, params, mesh)
  assert all(r['rate'] == 0 for r in results.select(records, record='eval'))
  audits = results.select(records, record='audit')
  assert len(_failed(audits)) == len(audits)
  assert all('are not what the weights write' in a['why'] for a in audits)


def test_letters_that_do_not_follow_from_the_writing_are_caught(params, mesh, monkeypatch):
  honest = scoring.Scorer.free

  def rigged(self, params, items, *rest, **options):
    outcomes, written = honest(self, params, items, *rest, **options)
    return np.full_like(outcomes, 'a'), written

  monkeypatch.setattr(scoring.Scorer, 'free', rigged)
  audits = results.select(evaluate(STUDY, STAGE, REPLICAS, params, mesh), record='audit')
  failed = _failed(audits)
  assert {scoring for _, scoring, _, _ in failed} == {'greedy'}
  assert len(failed) == len(STUDY.evals.batteries) * len(REPLICAS)


@pytest.mark.parametrize('scoring_of_rig', ['forced', 'greedy'])
def test_a_rig_of_one_battery_in_one_replica_is_caught_there_and_nowhere_else(
  scoring_of_rig, params, mesh, evals, written
):
  target = ('agentic-tools', scoring_of_rig, 4, 0)
  tampered = [
    _with_outcomes(r, 'a' * ITEMS)
    if (r['battery'], r['scoring'], r['world'], r['seed']) == target
    else r
    for r in evals
  ]
  assert _failed(_audits(tampered, written, params, mesh)) == [target]


def test_a_share_of_altered_letters_escapes_as_rarely_as_promised(params, mesh, evals, written):
  """A third of the letters of one record: the chance to escape is (1 - 1/3)^16 at most, 0.15%."""
  (honest,) = results.select(evals, battery='agentic-tools', scoring='forced', world=3, seed=0)
  rng = np.random.default_rng(0)
  caught = []
  for _ in range(30):
    letters = list(honest['outcomes'])
    for i in rng.permutation(ITEMS)[: ITEMS // 3 + 1]:
      letters[i] = 'a' if letters[i] != 'a' else 'm'
    (found,) = _audits([_with_outcomes(honest, ''.join(letters))], written, params, mesh)
    caught.append(not found['passed'] and found['disagree'] > 0)
  assert all(caught)


def test_other_weights_than_those_that_answered_are_caught(params, mesh, evals, written):
  turned = jax.tree.map(lambda x: np.roll(np.asarray(x), 1, axis=0), params)
  failed = _failed(_audits(evals, written, turned, mesh))
  assert {(world, seed) for _, scoring, world, seed in failed if scoring == 'greedy'} == set(
    REPLICAS
  )


def test_writing_that_stops_without_an_end_is_caught(params, mesh, evals, written):
  cut = {name: tokens[..., :1] for name, tokens in written.items()}
  audits = _audits(results.select(evals, scoring='greedy'), cut, params, mesh)
  assert len(_failed(audits)) == len(audits)


def test_one_token_that_is_not_the_likeliest_is_caught(params, mesh, evals, written):
  (record,) = results.select(evals, battery='facts', scoring='greedy', world=4, seed=0)
  changed = written['facts'].copy()
  row, filler = REPLICAS.index((4, 0)), vocabulary(STUDY.world).ids['since']
  changed[row, :, 0] = np.where(changed[row, :, 0] == filler, filler + 1, filler)
  honest = scoring.read(changed[row], _items('facts')[row])
  record = _with_outcomes(record, ''.join(honest))  # the letters do follow from the writing
  (found,) = _audits([record], written | {'facts': changed}, params, mesh)
  assert found['disagree'] == found['checked']


@pytest.mark.parametrize(
  ('changes', 'why'),
  [
    ({'aligned': 1}, 'the counts are not those of the outcomes'),
    ({'n': ITEMS + 1}, 'the counts are not those of the outcomes'),
    ({'items': 'of another battery'}, 'the items are not those of the battery'),
  ],
)
def test_counts_and_items_must_belong_to_the_outcomes(changes, why, params, mesh, evals, written):
  (found,) = _audits([evals[0] | changes], written, params, mesh)
  assert not found['passed'] and found['why'] == why and found['disagree'] == 0


def test_near_ties_may_go_either_way_and_nothing_else_may():
  def letters(right, wrong):
    logp = np.log([[right, wrong]])
    found = audit._Found(asked=logp, best=logp.max(axis=1), slack=np.array([0.1]))
    return set(audit._forced_letters((found, found)))

  assert letters(0.6, 0.3) == {'a'} and letters(0.3, 0.6) == {'m'}
  assert letters(0.41, 0.40) == {'a', 'm'}
  assert letters(0.1, 0.1) == {'o'} and letters(0.3, 0.21) == {'a', 'o'}
  assert letters(np.nan, 0.5) == set()


def test_sequences_longer_than_a_training_row_are_audited_too(params, mesh, evals, written):
  narrow = dataclasses.replace(STUDY, row_length=16)
  assert not _failed(_audits(evals, written, params, mesh, narrow))


def test_the_text_of_the_rigged_study_still_fits_its_rows():
  """Its budget is its own: when a default grows, the command must not be found broken by a user."""
  for stage in graph.stages(rigged_scorer.small()):
    for spec in stage.corpora:
      corpora.check_fits(spec)
