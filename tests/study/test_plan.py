"""The plan counts what a study will do, says what is done, and touches nothing."""

import io

import pytest
from rich.console import Console

from whyjax import config, defaults
from whyjax.corpus.vocabulary import vocabulary
from whyjax.errors import UserError
from whyjax.model import sizes
from whyjax.study import cache, graph, plan


def _study(**changes) -> config.StudyConfig:
  tree = defaults.study('cpu')
  tree.arms = ('none', 'reason')
  tree.later_arms = ('reason',)
  tree.later = ('neutral',)
  tree.update(changes)
  return config.parse(tree.to_dict())


def _finish(stage: graph.Stage, workdir, seconds: float, eval_seconds: float) -> None:
  """Writes what a finished stage leaves."""
  stage.directory(workdir).mkdir(parents=True)
  n = len(stage.replicas)
  run = {'seconds': seconds, 'wall': seconds, 'tokens_per_second': 1.0}
  record = cache.record(
    stage, updates=1, corpora=['x'] * n, supervised_tokens=[0] * n, loss=[1.0] * n, run=run
  )
  cache.save_trained(stage, workdir, record)
  cache.save_answers(stage, workdir, None, [], eval_seconds)


def _show(study: config.StudyConfig, workdir) -> str:
  console = Console(file=io.StringIO(), width=200)
  plan.show(study, workdir, console)
  return console.file.getvalue()


def test_cost_counts_tokens_and_flops_of_all_replicas(tmp_path):
  study = _study(seeds={'worlds': 2, 'per_world': 3})
  stages = {s.name: s for s in graph.stages(study)}
  found = plan.cost(stages['align/reason'], tmp_path)
  assert found.tokens == study.align.updates * study.align.batch_rows * study.row_length * 6
  per_token = sizes.flops_per_token(study.model, vocabulary(study.world).size, study.row_length)
  assert found.flops == pytest.approx(found.tokens * per_token)
  assert found.state == 'to do'
  assert plan.cost(stages['align/none'], tmp_path).flops == 0


def test_estimate_is_proportional_where_nothing_is_measured_and_exact_where_it_is():
  todo = plan.Cost(
    tokens=1, flops=100.0, eval_flops=50.0, seconds=None, eval_seconds=None, state='to do'
  )
  assert todo.estimate(10.0, 5.0) == 20.0
  done = plan.Cost(
    tokens=1, flops=100.0, eval_flops=50.0, seconds=3.0, eval_seconds=4.0, state='done'
  )
  assert done.estimate(10.0, 5.0) == 7.0


def test_plan_measures_the_machine_and_creates_nothing(tmp_path, monkeypatch):
  monkeypatch.setattr(plan, 'measured_matmul', lambda study: 100e9)
  text = _show(_study(), tmp_path / 'new')
  assert '100 GFLOP/s' in text
  assert text.count('to do') == 3
  assert not (tmp_path / 'new').exists()


def test_plan_rests_on_finished_stages_and_says_so(tmp_path, monkeypatch):
  monkeypatch.setattr(
    plan, 'measured_matmul', lambda study: pytest.fail('measured although there is a record')
  )
  study = _study()
  stages = {s.name: s for s in graph.stages(study)}
  _finish(stages['pretrain'], tmp_path, seconds=600.0, eval_seconds=60.0)
  (tmp_path / 'whyjax.json').write_text('{"schema": 1, "study": "study"}')
  stages['align/reason'].directory(tmp_path).mkdir()
  text = _show(study, tmp_path)
  rows = {line.split()[0]: line for line in text.splitlines() if '/' in line or 'pretrain' in line}
  assert 'speed of 1 finished stage' in text
  assert ' 11.0 ' in rows['pretrain']
  assert 'done' in rows['pretrain']
  assert 'interrupted' in rows['align/reason']
  assert 'to do' in rows['later/reason/neutral']


def test_plan_goes_without_minutes_where_the_platform_is_not(tmp_path, monkeypatch):
  def absent(_):
    raise UserError("device.platform = 'tpu': JAX cannot start it here")

  monkeypatch.setattr(plan, 'measured_matmul', absent)
  text = _show(_study(), tmp_path)
  assert 'no minutes' in text
  assert '?' in text


def test_foreign_workdir_is_refused(tmp_path):
  (tmp_path / 'thesis.tex').write_text('')
  with pytest.raises(UserError, match=r'thesis\.tex'):
    _show(_study(), tmp_path)


def test_measured_speed_is_that_of_some_machine():
  assert 1e8 < plan.measured_matmul(_study(device={'host_devices': 8, 'compile_cache': ''})) < 1e16
