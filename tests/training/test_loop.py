"""What a stage starts from, how it stops and goes on, and what it leaves behind."""

import dataclasses
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest

from whyjax.errors import UserError
from whyjax.training import loop
from whyjax.training import mesh as meshes
from whyjax.training.checkpoint import Checkpoints, restore_params
from whyjax.training.interrupt import Preempted
from whyjax.training.step import make_program

COLLECTIVE = re.compile(r'all-reduce|all-gather|all-to-all|reduce-scatter|collective-')


def lines(directory) -> list[dict]:
  return [json.loads(line) for line in (directory / 'metrics.jsonl').read_text().splitlines()]


def watched(tiny, action):
  """Data that calls action(step) once for every batch it is asked for but the first, which only
  shows its shape."""

  @dataclasses.dataclass
  class Watched(tiny.Rows):
    started: bool = False
    asked: set = dataclasses.field(default_factory=set)  # a batch comes in parts, one a device

    def batch(self, step, part=loop.WHOLE):
      if self.started and step not in self.asked:
        self.asked.add(step)
        action(step)
      self.started = True
      return super().batch(step, part)

  return Watched()


def at(stop, action):
  return lambda step: action() if step == stop else None


def test_it_learns(finished):
  first, *_, last = lines(finished.directory)
  assert np.all(np.array(last['loss']) < np.array(first['loss']))
  assert restore_params(finished.directory / 'checkpoints').keys() == finished.result.params.keys()


@pytest.mark.parametrize(
  ('stop', 'number'),
  [(0, signal.SIGTERM), (5, signal.SIGINT), (9, signal.SIGTERM), (19, signal.SIGTERM)],
)
def test_interrupted_and_resumed_is_bit_equal(tiny, finished, tmp_path, stop, number):
  data = watched(tiny, at(stop, lambda: os.kill(os.getpid(), number)))
  with pytest.raises(Preempted, match='stopped and saved at update') as stopped:
    tiny.train(tmp_path, data=data)
  assert stopped.value.exit_code == 128 + number
  assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
  seen = []
  result = tiny.train(tmp_path, data=watched(tiny, seen.append))
  assert not seen or min(seen) > stop  # nothing is done twice
  assert tiny.equal(result.params, finished.result.params) and result.loss == finished.result.loss
  for ours, theirs in zip(lines(tmp_path), lines(finished.directory), strict=True):
    assert ours | {'run': 0} == theirs | {'run': 0}


def test_a_second_sigterm_does_not_stop_the_save(tiny, tmp_path):
  def terminate():
    for _ in range(2):  # as when a scheduler tells both the job's shell and its child
      os.kill(os.getpid(), signal.SIGTERM)

  with pytest.raises(Preempted, match='stopped and saved at update'):
    tiny.train(tmp_path, data=watched(tiny, at(9, terminate)))


@pytest.mark.parametrize('stop', [3, 17])
def test_killed_and_resumed_is_bit_equal(tiny, finished, tmp_path, stop):
  with pytest.raises(ZeroDivisionError):
    tiny.train(tmp_path, data=watched(tiny, at(stop, lambda: 1 // 0)))
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 1')  # as a kill leaves it
  seen = []
  result = tiny.train(tmp_path, data=watched(tiny, seen.append))
  assert min(seen) == stop // 6 * 6  # the last checkpoint
  assert tiny.equal(result.params, finished.result.params)
  for ours, theirs in zip(lines(tmp_path), lines(finished.directory), strict=True):
    assert ours | {'run': 0} == theirs | {'run': 0}


def test_a_finished_stage_is_not_trained_again(tiny, finished, tmp_path):
  shutil.copytree(finished.directory, tmp_path, dirs_exist_ok=True)
  seen = []
  result = tiny.train(tmp_path, data=watched(tiny, seen.append), params=finished.result.params)
  assert not seen
  assert tiny.equal(result.params, finished.result.params) and result.loss == finished.result.loss
  assert result.seconds == finished.result.seconds


def test_hand_off_takes_params_and_nothing_else(tiny, finished, tmp_path):
  given = jax.device_put(finished.result.params)
  from_device = tiny.train(tmp_path / 'device', params=given)
  assert tiny.equal(given, finished.result.params)  # still there: other stages start from them too
  from_host = tiny.train(tmp_path / 'host', params=finished.result.params, seeds=[9, 9, 9, 9])
  from_disk = tiny.train(tmp_path / 'disk', init_from=finished.directory / 'checkpoints')
  assert tiny.equal(from_device.params, from_host.params) and tiny.equal(
    from_device.params, from_disk.params
  )
  assert [line['step'] for line in lines(tmp_path / 'disk')] == [4, 6, 10, 12, 16, 18, 20]
  # Its first update is that of a fresh optimizer: the loss starts where the parent's would, at
  # params alone.
  first = lines(tmp_path / 'host')[0]
  assert not np.allclose(first['loss'], lines(finished.directory)[0]['loss'])
  with Checkpoints(tmp_path / 'host' / 'checkpoints') as checkpoints:
    _, opt_state, _ = checkpoints.restore(*program(tiny).state)
  assert all(
    (x == 20).all() for x in jax.tree.leaves(opt_state) if x.ndim == 1
  )  # counts of updates


def program(tiny, replicas=4, **changes):
  device = dataclasses.replace(tiny.device, **changes)
  mesh = meshes.make_mesh(device, replicas, tiny.stage.batch_rows)
  return make_program(tiny.model, tiny.vocabulary, tiny.stage, device, mesh, replicas, tiny.length)


def test_params_that_do_not_fit_are_refused_before_any_compute(tiny, finished, tmp_path):
  params = dict(finished.result.params)
  params['extra'] = params.pop('head')
  params['embedding'] = params['embedding'][:2]
  with pytest.raises(UserError) as error:
    tiny.train(tmp_path, params=params)
  message = str(error.value)
  assert message.startswith('stage align/reason: params handed on') and '\n' not in message
  faults = (
    'embedding is float32[2, 32, 16], not float32[4, 32, 16]; extra is unknown; head is missing'
  )
  assert message.endswith(faults)


@pytest.mark.parametrize('seed', [-1, 2**32])
def test_a_seed_that_jax_would_cut_is_refused(tiny, tmp_path, seed):
  with pytest.raises(UserError, match=f'seed {seed}: must be at least 0 and less than'):
    tiny.train(tmp_path, seeds=[0, 1, 2, seed])


def test_a_directory_of_another_stage_is_refused(tiny, finished, tmp_path):
  shutil.copytree(finished.directory, tmp_path, dirs_exist_ok=True)
  with pytest.raises(UserError, match=r"checkpoint .*20: its data = 'rows'; here it is 'other'"):
    tiny.train(tmp_path, data=tiny.Rows(hash='other'))
  with pytest.raises(UserError, match=r'its seeds = \[1, 2, 3, 4\]; here it is \[1, 2, 3, 5\]'):
    tiny.train(tmp_path, seeds=[1, 2, 3, 5])


def test_replicas_in_turn_equal_single_runs_to_the_bit(tmp_path):
  """In a process of its own: where LLVM optimises nothing, one program may round twice and another
  once."""
  words = [sys.executable, '-m', 'tests.training.in_turn', tmp_path]
  env = os.environ | {'XLA_FLAGS': '--xla_backend_optimization_level=1'}
  subprocess.run(words, cwd=Path(__file__).parents[2], env=env, check=True)


@pytest.mark.parametrize(
  'changes',
  [{'mesh_replica': 1}, {'replica_loop': False}, {'steps_per_dispatch': 10**9}],
  ids=str,
)
def test_how_replicas_and_dispatches_run_changes_rounding_alone(tiny, finished, tmp_path, changes):
  params = finished.result.params
  expected = tiny.train(tmp_path / 'expected', params=params)
  device = dataclasses.replace(tiny.device, **changes)
  result = tiny.train(tmp_path / 'changed', params=params, device=device)
  chex.assert_trees_all_close(result.params, expected.params, atol=1e-4)


@pytest.mark.parametrize('replica_loop', [True, False])
def test_replicas_do_not_communicate(tiny, replica_loop):
  text = program(tiny, replica_loop=replica_loop).compiled.as_text()
  assert 'num_partitions=2' in text
  assert not COLLECTIVE.search(text)


def poisoned(tiny, bad_step, replica, value):
  """Data with one weight of one replica that is no number."""

  class Poisoned(tiny.Rows):
    def batch(self, step, part=loop.WHOLE):
      batch = super().batch(step)
      if step == bad_step:
        batch['weights'][replica, 0, 1] = value
      replicas, rows = part
      return {name: plane[replicas, rows] for name, plane in batch.items()}

  return Poisoned()


def test_nan_is_named_and_leaves_a_checkpoint_from_which_training_goes_on(tiny, finished, tmp_path):
  with pytest.raises(loop.NonFiniteLoss) as error:
    tiny.train(tmp_path, data=poisoned(tiny, 13, 2, np.nan))
  assert str(error.value) == (
    'stage align/reason: loss became nan at step 14 (replica 2); last finite checkpoint: step 12'
  )
  assert max(line['step'] for line in lines(tmp_path)) == 12
  assert tiny.equal(tiny.train(tmp_path).params, finished.result.params)


def test_nan_before_the_first_checkpoint_says_so(tiny, tmp_path):
  with pytest.raises(
    loop.NonFiniteLoss, match=r'at step 2 \(replica 1\); last finite checkpoint: none'
  ):
    tiny.train(tmp_path, data=poisoned(tiny, 1, 1, np.inf))


def test_metrics_have_a_line_for_each_dispatch_with_rates_and_counts(tiny, finished):
  records = lines(finished.directory)
  assert [r['step'] for r in records] == [4, 6, 10, 12, 16, 18, 20]
  assert sum(r['updates'] for r in records) == tiny.stage.updates
  begin = 0
  for record in records:
    batches = [tiny.Rows().batch(step)['weights'] for step in range(begin, record['step'])]
    np.testing.assert_allclose(record['weight'], np.sum(batches, axis=(0, 2, 3)))
    assert record['tokens'] == record['step'] * tiny.stage.batch_rows * tiny.length
    assert len(record['loss']) == len(record['grad_norm']) == 4
    run = record['run']
    speed = record['updates'] * 4 * tiny.stage.batch_rows * tiny.length / run['seconds']
    assert run['tokens_per_second'] == pytest.approx(speed, rel=0.05)
    begin = record['step']
  assert records[-1]['learning_rate'] < 1e-3 < max(r['learning_rate'] for r in records)
  assert next((finished.directory / 'tensorboard').iterdir()).stat().st_size > 0
  result = finished.result
  assert result.tokens_per_second == pytest.approx(20 * 4 * 4 * tiny.length / result.seconds)


def test_stages_of_equal_shape_share_one_compiled_program(tiny, finished, tmp_path):
  tiny.train(tmp_path / 'first', params=finished.result.params)
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: compiled.append(event) if 'compile' in event else None
  )
  try:
    tiny.train(tmp_path / 'second', params=finished.result.params)
  finally:
    jax.monitoring.clear_event_listeners()
  assert not compiled
