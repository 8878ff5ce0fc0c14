"""A study as runs for many processes: the same results, each once, and what is said on the way."""

import io
import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys

import duckdb
import pytest
from rich.console import Console

from tests import tiny
from whyjax import command_line, config, results
from whyjax.errors import UserError
from whyjax.study import cache, runner
from whyjax.study import workdir as workdirs
from whyjax.sweep import local, overview, runs, single

ROOT = Path(__file__).parents[2]
STUDY = config.parse(tiny.get_config().to_dict())


def said(action, *arguments) -> str:
  """What an action prints."""
  console = Console(file=io.StringIO(), width=200)
  action(*arguments, console)
  return console.file.getvalue()


def command(workdir, *arguments):
  program = [sys.executable, '-m', 'whyjax.main', '--config=tests/tiny.py', f'--workdir={workdir}']
  return subprocess.run(
    [*program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
  )


@pytest.fixture(name='swept', scope='module')
def _swept(tmp_path_factory):
  """A workdir in which two runs at a time did all the work; what that printed is in a file."""
  workdir = tmp_path_factory.mktemp('sweep') / 'tiny'
  ended = command(workdir, '--action=sweep', '--per_run=1')
  assert ended.returncode == 0, ended.stderr
  return workdir


def measured(workdir):
  """All records, but for times, machines and what was reused."""
  records = [
    {k: v for k, v in r.items() if k != 'run'} for r in results.read(workdir / 'results.jsonl')
  ]
  return [json.dumps(r, sort_keys=True) for r in records]


def test_a_sweep_finds_what_one_process_finds(swept, tmp_path):
  ended = command(tmp_path / 'tiny')
  assert ended.returncode == 0, ended.stderr
  assert measured(swept) == measured(tmp_path / 'tiny')


def test_every_run_comes_after_the_one_it_starts_from():
  found = runs.expand(STUDY)
  assert [run.index for run in found] == list(range(len(found)))
  for run in found:
    parent = run.stage.parent
    if parent is None:
      assert (run.level, run.after) == (0, -1)
    else:
      assert found[run.after].stage == parent and run.after < run.index
      assert run.level == found[run.after].level + 1
  assert {run.level for run in found} == {0, 1, 2}


def test_runs_are_numbered_for_array_jobs(swept, tmp_path):
  assert said(overview.expand, STUDY, tmp_path / 'new') == '0 0\n1 1-3\n2 4\n'
  lines = [json.loads(line) for line in (tmp_path / 'new' / runs.RUNS).read_text().splitlines()]
  assert [line['stage'] for line in lines] == [run.stage.name for run in runs.expand(STUDY)]
  assert all((swept / line['directory']).is_dir() for line in lines)


def test_only_what_lacks_a_result_is_run_again(swept):
  assert said(overview.expand, STUDY, swept) == ''
  run = runs.expand(STUDY)[2]
  path = run.stage.directory(swept) / cache.RESULT
  before, evals = path.read_bytes(), run.stage.directory(swept) / cache.EVALS
  path.unlink()
  answered = evals.stat().st_mtime_ns
  assert said(overview.expand, STUDY, swept) == f'{run.level} {run.index}\n'
  assert command(swept, f'--run={run.index}').returncode == 0
  assert path.read_bytes() == before
  assert evals.stat().st_mtime_ns == answered  # what was computed is not computed again


def test_a_table_of_all_results_has_every_rate(swept):
  text = said(overview.collect, STUDY, swept)
  assert '5 finished runs' in text
  rows = duckdb.sql(
    f"select stage, battery, scoring, world, seed, n, misaligned from '{swept / overview.TABLE}'"
  ).fetchall()
  evals = results.select(results.read(swept / 'results.jsonl'), record='eval')
  fields = ('stage', 'battery', 'scoring', 'world', 'seed', 'n', 'misaligned')
  # What was not aligned is asked as it was pretrained: no run of its own.
  assert sorted(rows) == sorted(
    tuple(r[f] for f in fields) for r in evals if r['stage'] != 'align/none'
  )


def test_status_says_what_became_of_every_run(tmp_path):
  workdir = tmp_path / 'tiny'
  assert said(overview.expand, STUDY, workdir)
  pretrain, later, demonstrations, reason, after = runs.expand(STUDY)
  for run in (later, demonstrations, reason):
    runs.begin(_made(run, workdir))
  runs.end(later.stage.directory(workdir), 2, 'disk full;\n mend that')
  runs.end(demonstrations.stage.directory(workdir), 143, 'saved at update 3')
  runs.log(reason, workdir).write_text('update 1\r update 2\nKilled by the kernel\n\n')
  with workdirs.lock(_made(pretrain, workdir), 'pretrain'):
    states = [runs.state(run, workdir).word for run in runs.expand(STUDY)]
    text = said(overview.status, STUDY, workdir)
  assert states == [runs.RUNNING, runs.FAILED, runs.PENDING, runs.FAILED, runs.PENDING]
  assert 'exit code 2: disk full; mend that' in text and 'saved at update 3' in text
  assert 'killed: Killed by the kernel' in text
  assert '5 runs: 0 done, 1 running, 2 failed, 2 pending' in text
  assert runs.state(pretrain, workdir).word == runs.PENDING  # nobody holds it any more
  assert after.stage.name not in text.split('later/none')[0]  # what needs attention is first


def _made(run, workdir):
  directory = run.stage.directory(workdir)
  directory.mkdir(parents=True, exist_ok=True)
  return directory


def test_a_damaged_result_is_one_failed_run_and_named(swept, tmp_path):
  workdir = Path(shutil.copytree(swept, tmp_path / 'tiny'))
  run = runs.expand(STUDY)[1]
  result = run.stage.directory(workdir) / cache.RESULT
  for damage in (b'\x80', b'{"answers_to": [], "rows": "x"}', b'{"answers_to": []}'):
    result.write_bytes(damage)
    assert '5 runs: 4 done, 0 running, 1 failed, 0 pending' in said(overview.status, STUDY, workdir)
    state = runs.state(run, workdir)
    assert state.word == runs.FAILED and state.line.startswith(f'{result}: is damaged')
    with pytest.raises(UserError, match=f'^{result}: is damaged'):
      said(overview.collect, STUDY, workdir)


def test_a_damaged_note_on_a_run_is_no_note(tmp_path):
  run = runs.expand(STUDY)[0]
  directory = run.stage.directory(tmp_path)
  directory.mkdir(parents=True)
  for damage in (b'\x80', b'{', b'{"host": "a", "begun": "", "line": ""}', b'[]'):
    (directory / 'attempt.json').write_bytes(damage)
    assert runs.state(run, tmp_path).word == runs.PENDING


def test_what_a_number_printed_for_another_stage_is_not_of_this_one(tmp_path):
  """With fewer arms a number means another stage."""
  few = command_line.parse(
    ['whyjax', '--config=tests/tiny.py', '--config.arms=("none", "reason")', '--config.claims=()']
  )
  few, many = runs.expand(few.study), runs.expand(STUDY)
  moved = next(i for i in range(len(few)) if few[i].stage.id != many[i].stage.id)
  (tmp_path / 'logs').mkdir()
  runs.write(few, tmp_path)
  runs.log(few[moved], tmp_path).write_text('died\n')
  assert runs.state(few[moved], tmp_path) == runs.State(runs.FAILED, 'died')
  assert runs.state(many[moved], tmp_path).word == runs.PENDING
  runs.write(many, tmp_path)  # a sweep starts with other arms
  assert runs.state(many[moved], tmp_path).word == runs.PENDING
  assert [path.read_text() for path in (tmp_path / 'logs').iterdir()] == ['died\n']


def test_a_run_that_waits_for_its_processes_has_not_failed(tmp_path):
  run = runs.expand(STUDY)[0]
  (tmp_path / 'logs').mkdir()
  runs.write([run], tmp_path)
  runs.log(run, tmp_path).write_text('Slurm: waits for 2 processes, 120 s at most\n')
  assert runs.state(run, tmp_path).word == runs.PENDING


def test_a_failing_run_stops_no_other_and_is_tried_again(swept, tmp_path):
  workdir = Path(shutil.copytree(swept, tmp_path / 'tiny'))
  _, other, _, failing, after = runs.expand(STUDY)
  for gone in ('logs', *(run.stage.directory(workdir) for run in (other, failing, after))):
    shutil.rmtree(workdir / gone)
  (workdir / 'results.jsonl').unlink()
  spoilt = _made(failing, workdir) / cache.DONE
  spoilt.write_text('{')
  ended = command(workdir, '--action=sweep')
  assert ended.returncode == 1
  assert '2 of 5 runs are not done: --action=status' in ended.stderr
  assert f'{failing.stage.name} failed' in ended.stdout and 'damaged' in ended.stdout
  assert f'{other.stage.name}: done' in ended.stdout
  assert not (workdir / 'results.jsonl').exists()
  assert '5 runs: 3 done, 0 running, 1 failed, 1 pending' in said(overview.status, STUDY, workdir)
  spoilt.unlink()
  ended = command(workdir, '--action=sweep')
  assert ended.returncode == 0 and (workdir / 'results.jsonl').exists()


@pytest.mark.parametrize(
  'arguments, line',
  [
    (['--run=5'], '--run = 5: must be 0 to 4'),
    (['--run=-1'], '--run = -1: must be 0 to 4'),
    (['--run=4'], 'starts from align/reason, which is not finished; run 3 first'),
    (['--run=0', '--action=status'], '--run = 0: only with --action=run, not status'),
    (['--per_run=1'], '--per_run = 1: only with --action=sweep, not run'),
    (['--action=sweep', '--per_run=1000'], '--per_run = 1000: must be 0 to'),
    (['--action=status'], 'nothing was run here yet'),
    (['--action=collect'], 'nothing was run here yet'),
  ],
)
def test_bad_input_is_one_line(arguments, line, tmp_path):
  ended = command(tmp_path / 'tiny', *arguments)
  assert ended.returncode == 2
  assert line in ended.stderr and ended.stderr.count('\n') == 1


def test_a_run_looks_at_its_workdir_before_all_else(tmp_path):
  (tmp_path / 'thesis.tex').write_text('')
  ended = command(tmp_path, '--run=4')
  assert ended.returncode == 2 and ended.stderr.count('\n') == 1
  assert "is no workdir but holds 'thesis.tex'" in ended.stderr
  assert [path.name for path in tmp_path.iterdir()] == ['thesis.tex']
  with workdirs.hold(tmp_path / 'yours', 'yours'):
    pass
  with pytest.raises(UserError, match="belongs to study 'yours'"):
    single.run(STUDY, tmp_path / 'yours', 4, Console(quiet=True))


TWO_RUNS = (
  '--config.arms=("demonstrations",)',
  '--config.later_arms=()',
  '--config.later=()',
  '--config.claims=()',
)
# Starts a run twice when it is asked to for the first time, as the run of a killed pool and that of
# the next pool. The former is faster, and holds the workdir for longer than its last run takes.
_TWICE = """
import fcntl, pathlib, subprocess, sys, time
program = [sys.executable, '-m', 'whyjax.main', *sys.argv[1:]]
workdir = pathlib.Path(next(a for a in sys.argv if a.startswith('--workdir=')).split('=')[1])

def held(path):
  with open(path) as file:
    try:
      fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
      return True

if '--run=0' in sys.argv and not (workdir / 'twice').exists():
  (workdir / 'twice').touch()
  subprocess.Popen(program)
  while not any(held(lock) for lock in workdir.glob('stages/*/lock')):
    time.sleep(0.01)
sys.exit(subprocess.run(program).returncode)
"""
_LINGER = """
import fcntl, pathlib, sys, time
workdir = pathlib.Path(sys.argv[1])
with open(workdir / 'lock') as file:
  fcntl.flock(file, fcntl.LOCK_SH)
  while len(list(workdir.glob('stages/*/result.json'))) < 2:
    time.sleep(0.1)
  time.sleep(4)
"""


def test_runs_of_a_killed_pool_do_not_stop_the_next(tmp_path, monkeypatch):
  arguments = ['--config=tests/tiny.py', f'--workdir={tmp_path / "w"}', *TWO_RUNS]
  study = command_line.parse(['whyjax', *arguments]).study
  monkeypatch.setattr(local, '_PROGRAM', (sys.executable, '-c', _TWICE))
  said(overview.expand, study, tmp_path / 'w')
  lingers = subprocess.Popen([sys.executable, '-c', _LINGER, str(tmp_path / 'w')])
  try:
    text = said(local.sweep, study, tmp_path / 'w', arguments, 0)
  finally:
    lingers.kill()
    lingers.wait()
  assert 'failed' not in text and 'pretrain: done' in text
  assert (tmp_path / 'w' / 'results.jsonl').exists()


def test_a_pool_that_fails_leaves_no_run_behind(tmp_path, monkeypatch):
  sizes = ['--config.kind=scaling', '--config.scaling.sizes=("10k",)']
  arguments = ['--config=tests/tiny.py', *TWO_RUNS[1:], '--config.arms=()', *sizes]
  study = command_line.parse(['whyjax', *arguments, '--config.scaling.tokens=(1200, 2400)']).study
  workdir, started = tmp_path / 'w', []
  monkeypatch.setattr(local, '_PROGRAM', (sys.executable, '-c', 'import time; time.sleep(300)'))
  cores = (10**6, *os.sched_getaffinity(0))  # where the second is to run, nothing can
  monkeypatch.setattr(
    local, 'slots', lambda *_: [local.Slot(frozenset({c}), {}) for c in cores[:2]]
  )
  popen = subprocess.Popen
  monkeypatch.setattr(
    subprocess, 'Popen', lambda *a, **k: started.append(popen(*a, **k)) or started[-1]
  )
  with pytest.raises((OSError, ValueError)):
    said(local.sweep, study, workdir, arguments, 1)
  assert [process.poll() for process in started] == [-signal.SIGTERM] * 2


def test_collecting_nothing_is_said(tmp_path):
  said(overview.expand, STUDY, tmp_path / 'tiny')
  with pytest.raises(UserError, match='no finished stage to collect'):
    said(overview.collect, STUDY, tmp_path / 'tiny')


def test_two_sweeps_do_not_share_a_workdir_and_a_study_does_not_start_in_one(tmp_path):
  workdir = tmp_path / 'tiny'
  said(overview.expand, STUDY, workdir)
  with workdirs.lock(workdir / 'logs', 'sweep'):
    ended = command(workdir, '--action=sweep')
  assert ended.returncode == 2 and 'in use by process' in ended.stderr
  with (
    workdirs.hold(workdir, 'tiny', shared=True),
    pytest.raises(UserError, match='in use by process'),
  ):
    runner.run(STUDY, workdir, Console(file=io.StringIO()))


def test_gpus_and_cores_are_divided(monkeypatch):
  monkeypatch.setattr(local.os, 'sched_getaffinity', lambda _: {0, 1, 2, 3, 4})
  assert [slot.cores for slot in local.slots('cpu', 2)] == [{0, 1}, {2, 3}]
  assert [slot.cores for slot in local.slots('cpu', 0)] == [{0, 1, 2, 3, 4}]
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '3,5,6,7')
  devices = [slot.environment['CUDA_VISIBLE_DEVICES'] for slot in local.slots('gpu', 2)]
  assert devices == ['3,5', '6,7']
  assert local.slots('gpu', 0)[0].environment == {'CUDA_VISIBLE_DEVICES': '3,5,6,7'}
  for platform, per_run in (('gpu', 5), ('cpu', -1), ('tpu', 4)):
    with pytest.raises(UserError, match=f'--per_run = {per_run}'):
      local.slots(platform, per_run)
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  with pytest.raises(UserError, match=r"config\.device\.platform = 'gpu': this machine has no GPU"):
    local.slots('gpu', 0)


def test_a_machine_that_does_not_bind_processes_to_cores_has_them_all(monkeypatch):
  monkeypatch.delattr(local.os, 'sched_getaffinity')
  monkeypatch.setattr(local.os, 'cpu_count', lambda: 3)
  assert [slot.cores for slot in local.slots('cpu', 1)] == [{0}, {1}, {2}]
