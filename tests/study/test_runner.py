"""A whole study, small: what is recorded and reused; neither faults nor stops change a result."""

import io
import json
from pathlib import Path
import shutil
import signal
import sys

import jax
import numpy as np
import pytest
from rich.console import Console

from whyjax import command_line, results
from whyjax.config import StudyConfig
from whyjax.corpus import loader
from whyjax.errors import UserError
from whyjax.report import persistence, summary
from whyjax.study import cache, execute, graph, provenance, runner
from whyjax.training.interrupt import Preempted

TINY = Path(__file__).parents[1] / 'tiny.py'
ON_TEST_DEVICES = ('host_devices=8', 'mesh_replica=1', 'mesh_data=1', 'compile_cache=')


def _study(*overrides: str) -> StudyConfig:
  device = [f'--config.device.{field}' for field in ON_TEST_DEVICES]
  return command_line.parse(['whyjax', f'--config={TINY}', *device, *overrides]).study


def _run(study: StudyConfig, workdir: Path) -> list[dict]:
  runner.run(study, workdir, Console(quiet=True))
  return results.read(workdir / 'results.jsonl')


def _facts(records: list[dict]) -> list[dict]:
  """The records without what may differ between equal runs."""
  return [{name: value for name, value in r.items() if name != 'run'} for r in records]


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> Path:
  """The workdir of the tiny study after one uninterrupted run; not to be written to."""
  workdir = tmp_path_factory.mktemp('finished') / 'w'
  _run(_study(), workdir)
  return workdir


@pytest.fixture
def copy(finished, tmp_path) -> Path:
  return Path(shutil.copytree(finished, tmp_path / 'w'))


def _stage(name: str) -> graph.Stage:
  return next(s for s in graph.stages(_study()) if s.name == name)


def test_a_mesh_that_a_later_stage_cannot_fill_is_refused_before_any_compute(tmp_path):
  study = _study('--config.device.mesh_data=4', '--config.later_training.batch_rows=2')
  with pytest.raises(UserError, match=r'mesh_data = 4: must be a divisor of the 2 rows'):
    _run(study, tmp_path / 'w')
  assert not (tmp_path / 'w/stages').exists()


def test_records_of_every_stage_replica_and_claim_are_there(finished):
  records = results.read(finished / 'results.jsonl')
  assert [r['stage'] for r in results.select(records, record='stage')] == [
    s.name for s in graph.stages(_study())
  ]
  asked = results.select(
    records, record='eval', battery='agentic-tools', scoring='greedy', stage='align/reason'
  )
  assert [(r['world'], r['seed']) for r in asked] == [(1000, 0), (1001, 0)]
  assert len(results.select(records, record='loss')) == 6 * 2
  (verdict,) = results.select(records, record='verdict')
  assert verdict['claim'] == 'reason-over-demonstrations-forced'
  (check,) = results.select(records, record='check')
  assert check['arms'] == ['demonstrations', 'reason']
  assert 'identical and announced alike' in check['text']
  assert (finished / 'report.html').exists()


def test_arm_without_alignment_repeats_the_pretrained_model(finished):
  records = results.read(finished / 'results.jsonl')
  for before in results.select(records, record='eval', kind='pretrain'):
    where = {field: before[field] for field in ('battery', 'scoring', 'world')}
    copies = results.select(records, record='eval', stage='align/none', **where)
    assert [c['outcomes'] for c in copies] == [before['outcomes']]
  assert results.select(records, record='stage', stage='align/none')[0]['updates'] == 0


def test_finished_study_is_reused_without_jax_and_says_the_same(copy, monkeypatch):
  before = results.read(copy / 'results.jsonl')
  monkeypatch.setitem(sys.modules, 'whyjax.study.execute', None)
  after = _run(_study(), copy)
  assert _facts(after) == _facts(before)
  assert all(r['run']['reused'] for r in results.select(after, record='stage'))
  assert not any(r['run']['reused'] for r in results.select(before, record='stage', kind='later'))


def test_a_result_that_a_kill_prevented_is_written_without_asking_again(copy, monkeypatch):
  path = _stage('align/reason').directory(copy) / cache.RESULT
  before = path.read_bytes()
  path.unlink()  # killed after the evaluation
  monkeypatch.setitem(sys.modules, 'whyjax.study.execute', None)
  _run(_study(), copy)
  assert path.read_bytes() == before


def test_other_questions_are_asked_without_training_again(copy, monkeypatch):
  monkeypatch.setattr(execute.loop, 'train', lambda **_: pytest.fail('trained again'))
  before = results.read(copy / 'results.jsonl')
  after = _run(_study('--config.evals.malformed_gate=1.0'), copy)
  assert {r['scored'] for r in results.select(before, record='eval')} == {True, False}
  assert all(r['scored'] for r in results.select(after, record='eval'))
  again = _run(_study(), copy)
  assert _facts(again) == _facts(before)


def test_gate_of_claims_is_judged_again_without_asking_again(copy, monkeypatch):
  monkeypatch.setitem(sys.modules, 'whyjax.study.execute', None)
  after = _run(
    _study('--config.evals.knowledge_gate=0.0', '--config.statistics.bootstrap=200'), copy
  )
  assert results.select(after, record='verdict')[0]['verdict'] != 'not taught'


def test_new_dial_of_one_kind_of_stage_reuses_the_others(copy, monkeypatch):
  trained = []
  train = execute.loop.train
  monkeypatch.setattr(
    execute.loop, 'train', lambda **given: trained.append(given['name']) or train(**given)
  )
  _run(_study('--config.later_text.reasons=0.0'), copy)
  assert trained == ['later/none/neutral', 'later/reason/neutral']


def test_results_of_another_config_are_kept(copy):
  before = (copy / 'results.jsonl').read_bytes()
  _run(_study('--config.evals.knowledge_gate=0.5'), copy)
  assert (copy / 'results.1.jsonl').read_bytes() == before
  (copy / 'results.jsonl').write_text('{"damaged')
  _run(_study('--config.evals.knowledge_gate=0.5'), copy)
  assert (copy / 'results.2.jsonl').read_text() == '{"damaged'
  _run(_study('--config.evals.knowledge_gate=0.5'), copy)
  assert not (copy / 'results.3.jsonl').exists()


def test_answers_that_do_not_add_up_are_refused_by_their_own_name(copy):
  path = _stage('align/reason').directory(copy) / cache.EVALS
  path.write_text(path.read_text().replace('"other": 6', '"other": 5', 1))
  with pytest.raises(UserError, match=f'{path}: is damaged .*delete it'):
    _run(_study(), copy)


def test_a_stage_of_other_versions_is_marked(copy, monkeypatch):
  monkeypatch.setattr(provenance, 'versions', lambda: {'jax': '99'})
  console = Console(width=200, record=True, file=io.StringIO())
  runner.run(_study(), copy, console)
  assert 'reused (flax' in console.export_text()


def test_a_study_is_of_the_code_that_judged_it_and_a_stage_of_the_code_that_trained_it(
  copy, monkeypatch
):
  before = results.read(copy / 'results.jsonl')
  monkeypatch.setattr(provenance, 'commit', lambda: 'another')
  after = _run(_study(), copy)
  (study,), stages = (results.select(after, record=kind) for kind in ('study', 'stage'))
  assert study['run']['commit'] == 'another'
  assert [s['run'] for s in stages] == [
    s['run'] | {'reused': True} for s in results.select(before, record='stage')
  ]


def test_probes_ask_on_the_way_and_change_nothing_else(copy):
  before = results.read(copy / 'results.jsonl')
  asked = _run(_study('--config.later_training.probes=(1, 4)'), copy)
  probes = results.select(asked, record='probe')
  later = results.select(asked, record='eval', kind='later')
  assert {r['update'] for r in probes} == {1, 4}
  kept = [r for r in later if r['battery'] in ('agentic-tools', 'facts')]  # what curves need
  assert len(probes) == 2 * len(kept)
  assert {r['stage'] for r in probes} == {r['stage'] for r in later}
  assert _facts(results.select(before, record='eval')) == _facts(
    results.select(asked, record='eval')
  )
  again = _run(_study('--config.later_training.probes=(1, 4)'), copy)
  assert _facts(again) == _facts(asked)
  (curve, *_) = persistence.curves(asked)
  assert curve.places == (0, 1, 4, 6)


def test_stopped_study_goes_on_bit_for_bit(finished, tmp_path, monkeypatch):
  whole = loader.Loader.batch
  calls = []

  def stop_late_in_the_second_stage(self, step, *part):
    calls.append(step)
    if len(calls) == 10:
      signal.raise_signal(signal.SIGTERM)
    return whole(self, step, *part)

  monkeypatch.setattr(loader.Loader, 'batch', stop_late_in_the_second_stage)
  with pytest.raises(Preempted) as stop:
    _run(_study(), tmp_path / 'w')
  assert stop.value.exit_code == 143
  assert not (tmp_path / 'w' / 'results.jsonl').exists()
  monkeypatch.setattr(loader.Loader, 'batch', whole)
  assert _facts(_run(_study(), tmp_path / 'w')) == _facts(results.read(finished / 'results.jsonl'))


def test_crash_between_training_and_evaluation_loses_neither(finished, tmp_path, monkeypatch):
  evaluate, train = execute.evaluate, execute.loop.train
  trained = []
  monkeypatch.setattr(
    execute.loop, 'train', lambda **given: trained.append(given['name']) or train(**given)
  )

  def crash_once(study, stage, *rest):
    if stage['stage'] == 'align/reason':
      raise MemoryError
    return evaluate(study, stage, *rest)

  monkeypatch.setattr(execute, 'evaluate', crash_once)
  with pytest.raises(MemoryError):
    _run(_study(), tmp_path / 'w')
  monkeypatch.setattr(execute, 'evaluate', evaluate)
  after = _run(_study(), tmp_path / 'w')
  assert _facts(after) == _facts(results.read(finished / 'results.jsonl'))
  assert sorted(trained) == sorted(s.name for s in graph.stages(_study()) if s.trains)


@pytest.mark.parametrize('name', [cache.DONE, cache.EVALS])
@pytest.mark.parametrize('keep', [0, 0.5])
def test_damaged_record_of_a_stage_is_named_and_not_taken_for_whole(copy, name, keep):
  path = _stage('align/reason').directory(copy) / name
  text = path.read_text()
  path.write_text(text[: int(keep * len(text))])
  before = (copy / 'results.jsonl').read_bytes()
  with pytest.raises(UserError, match=f'{name}: is damaged'):
    _run(_study(), copy)
  assert (copy / 'results.jsonl').read_bytes() == before


@pytest.mark.parametrize(
  ('name', 'damage'),
  [
    (cache.DONE, lambda text: b'\x80' + text),
    (cache.DONE, lambda text: text.replace(b'"wall"', b'"well"')),
    (cache.DONE, lambda text: text.replace(b'"supervised_tokens"', b'"tokens_supervised"')),
    (cache.EVALS, lambda text: text.replace(b'"records"', b'"record"', 1)),
    (cache.EVALS, lambda text: text + b'\x80\n'),
  ],
)
def test_a_record_that_lacks_something_is_named(copy, name, damage):
  path = _stage('align/reason').directory(copy) / name
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(UserError, match=f'^{path}: is damaged'):
    _run(_study(), copy)


def test_a_study_is_whole_without_the_notes_on_its_runs(copy, finished):
  for path in copy.glob('stages/*/stage.json'):
    path.unlink()
  assert _facts(_run(_study(), copy)) == _facts(results.read(finished / 'results.jsonl'))


def test_record_of_another_stage_is_not_taken_for_this_one(copy):
  source = _stage('align/demonstrations').directory(copy) / cache.DONE
  shutil.copy(source, _stage('align/reason').directory(copy) / cache.DONE)
  with pytest.raises(UserError, match='is of stage'):
    _run(_study(), copy)


def test_older_checkpoint_is_not_taken_for_the_finished_model(copy):
  pretrain = _stage('pretrain').directory(copy)
  shutil.rmtree(pretrain / 'checkpoints' / '6')
  shutil.rmtree(_stage('align/reason').directory(copy))
  with pytest.raises(UserError, match=r'pretrain-\w+: lacks its last checkpoint'):
    _run(_study(), copy)


def test_children_take_the_params_of_their_own_world(finished):
  child = next(
    s for s in graph.stages(_study('--config.seeds.per_world=2')) if s.name == 'align/reason'
  )
  before = execute._params(child.parent, finished)
  after = execute._inherited(child, finished)
  for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
    np.testing.assert_array_equal(new, old[[0, 0, 1, 1]])
  assert execute._inherited(child.parent, finished) is None


def test_every_checkpoint_says_where_it_comes_from(finished):
  stage = _stage('align/reason')
  stored = json.loads((stage.directory(finished) / 'stage.json').read_text())
  (file,) = (stage.directory(finished) / 'checkpoints' / '6' / 'meta').glob('metadata')
  meta = json.loads(file.read_text())['meta']
  assert meta == stored
  assert (meta['id'], meta['parent']) == (stage.id, _stage('pretrain').id)
  assert meta['config']['align']['updates'] == 6
  assert len(meta['corpora']) == len(stage.replicas)
  assert meta['run']['versions'] == provenance.versions()
  assert meta['run']['device']['platform'] == 'cpu'


def test_text_that_does_not_fit_is_found_before_any_training(tmp_path, monkeypatch):
  monkeypatch.setattr(execute.loop, 'train', lambda **_: pytest.fail('trained'))
  with pytest.raises(UserError, match='does not fit'):
    _run(_study('--config.align_text.supervised_tokens=2300'), tmp_path / 'w')


def test_text_that_does_not_fit_in_one_world_of_many_is_found_before_any_training(
  tmp_path, monkeypatch
):
  check = execute.corpora.check_fits

  def refuse(spec):
    if (spec.world_seed, spec.later) == (1001, 'neutral'):
      raise UserError('does not fit')
    check(spec)

  monkeypatch.setattr(execute.corpora, 'check_fits', refuse)
  monkeypatch.setattr(execute.loop, 'train', lambda **_: pytest.fail('trained'))
  with pytest.raises(UserError, match='does not fit'):
    _run(_study(), tmp_path / 'w')


def test_scaling_study_trains_its_grid_and_says_what_laws_it_can_tell(tmp_path):
  others = [f'--config.{field}=()' for field in ('later_arms', 'later', 'claims')]
  grid = [
    "--config.arms=('demonstrations', 'reason')",
    "--config.scaling.sizes=('10k',)",
    '--config.scaling.tokens=(1200, 2400)',
    '--config.scaling.alignment_tokens=(100, 200)',
    '--config.scaling.what=demonstrations',
  ]
  records = _run(_study('--config.kind=scaling', *others, *grid), tmp_path / 'w')
  stages = results.select(records, record='stage')
  assert [r['stage'] for r in stages][::5] == ['pretrain/10k/1.2k', 'pretrain/10k/2.4k']
  assert [r['tokens'] for r in stages][::5] == [3 * 4 * 96, 6 * 4 * 96]
  laws = results.select(records, record='law')
  assert laws and all((r['value'] is None) == bool(r['why']) for r in laws)
  assert 'only one value of N' in ' '.join(r['why'] for r in laws)
  assert not summary.arms(summary.cells(records)), 'no mean over sizes, budgets and doses'


DOSES = (
  '--config.doses.arms=("demonstrations", "reason")',
  '--config.doses.shares=(0.25, 0.5)',
)


def test_doses_are_trained_beside_what_is_there_and_kept_apart(copy, monkeypatch):
  trained = []
  train = execute.loop.train
  monkeypatch.setattr(
    execute.loop, 'train', lambda **given: trained.append(given['name']) or train(**given)
  )
  before = results.read(copy / 'results.jsonl')
  after = _run(_study(*DOSES), copy)
  assert trained == [
    f'dose/{arm}/{tokens}' for arm in ('demonstrations', 'reason') for tokens in (50, 100)
  ]
  for stage in results.select(after, record='stage', kind='dose'):
    budget = int(stage['stage'].rsplit('/', 1)[1])
    assert all(budget - 25 < tokens <= budget for tokens in stage['supervised_tokens'])
    asked = {r['battery'] for r in results.select(after, record='eval', stage=stage['stage'])}
    assert asked == {'agentic-tools', 'facts'}
  assert summary.cells(after) == summary.cells(before)
  assert [r for r in _facts(after)[1:] if r.get('kind') != 'dose'] == _facts(before)[1:]


def test_a_dose_with_no_room_is_found_before_compute(tmp_path, monkeypatch):
  monkeypatch.setattr(execute.loop, 'train', lambda **_: pytest.fail('trained'))
  study = _study(DOSES[0], '--config.doses.shares=(0.01,)')
  with pytest.raises(UserError, match=r'^config\.doses\.shares = 0\.01 .*\(demonstrations\)'):
    _run(study, tmp_path / 'w')
