"""The Slurm sweep against a stand-in that records the jobs it is given."""

import json
import os
from pathlib import Path
import subprocess
import sys

import pytest

from tests import tiny
from whyjax import config
from whyjax.study import cache
from whyjax.sweep import runs

ROOT = Path(__file__).parents[2]
SWEEP = ROOT / 'launch/slurm/sweep.sh'
TINY = ('--', '--config=tests/tiny.py', '--workdir=/none')
SBATCH = """#!{python}
import json, os, sys
path = os.environ['RECORD']
if sum(1 for _ in open(path)) >= int(os.environ.get('LIMIT', 99)):
  sys.exit('sbatch: error: QOSMaxSubmitJobPerUserLimit')
with open(path, 'a') as file:
  file.write(json.dumps(sys.argv[1:]) + chr(10))
print(str(100 + sum(1 for _ in open(path))) + ';cluster')
"""


@pytest.fixture(name='sweep')
def _sweep(tmp_path):
  """Calls the script on a workdir of the tiny study; returns what ended and the jobs so far."""
  programs = {
    'sbatch': SBATCH.format(python=sys.executable),
    'squeue': '#!/bin/sh\necho "$*" > "$RECORD.squeue"\nprintf "%s" "$QUEUED"\n'
    '[ -z "$SQUEUE" ] || { echo "slurm_load_jobs error: $SQUEUE" >&2; exit 1; }\n',
  }
  (tmp_path / 'bin').mkdir()
  for name, text in programs.items():
    (tmp_path / 'bin' / name).write_text(text)
    (tmp_path / 'bin' / name).chmod(0o755)
  record = tmp_path / 'record'
  record.touch()
  environment = os.environ | {
    'PATH': f'{tmp_path / "bin"}:{os.environ["PATH"]}',
    'RECORD': str(record),
    'PYTHON': sys.executable,
  }
  default = ('--gpus=1', '--', '--config=tests/tiny.py', f'--workdir={tmp_path / "work dir"}')

  def call(*arguments, after=default, **env):
    ended = subprocess.run(
      [SWEEP, *arguments, *after],
      env=environment | env,
      capture_output=True,
      text=True,
      check=False,
    )
    return ended, [json.loads(line) for line in record.read_text().splitlines()]

  return call


def test_each_level_waits_for_the_one_before_and_the_report_for_all(sweep, tmp_path):
  ended, jobs = sweep(MAX_RUNNING='4')
  assert ended.returncode == 0, ended.stderr
  arrays = [[o for o in job if o.startswith('--array')] for job in jobs]
  assert arrays == [['--array=0%4'], ['--array=1-3%4'], ['--array=4%4'], []]
  after = [[o for o in job if o.startswith('--dependency')] for job in jobs]
  assert after == [[], *([f'--dependency=afterok:{id}'] for id in (101, 102, 103))]
  program = ['launch/slurm/train.sbatch', '--config=tests/tiny.py']
  for job in jobs:
    assert job[-3:] == [*program, f'--workdir={tmp_path / "work dir"}'] and '--gpus=1' in job
  assert [f'--output={tmp_path / "work dir"}/logs/%a.log' in job for job in jobs] == [True] * 3 + [
    False
  ]
  assert 'jobs 101 102 103 104' in ended.stdout


def test_a_dry_run_leaves_no_trace_and_prints_what_a_shell_can_run(sweep, tmp_path):
  dry, jobs = sweep('--dry_run')
  workdir = tmp_path / 'work dir'
  assert dry.returncode == 0 and jobs == [] and not workdir.exists()
  environment = os.environ | {
    'PATH': f'{tmp_path / "bin"}:{os.environ["PATH"]}',
    'RECORD': str(tmp_path / 'record'),
  }
  subprocess.run(['bash', '-ec', dry.stdout], cwd=ROOT, env=environment, check=True)
  printed = [json.loads(line) for line in (tmp_path / 'record').read_text().splitlines()]
  left = [workdir / 'logs/slurm', workdir / 'runs.jsonl']
  texts = [path.read_text() for path in left]
  (tmp_path / 'record').write_text('')
  _, jobs = sweep()
  assert printed == jobs and len(jobs) == 4
  assert texts == [path.read_text() for path in left]


def test_a_dry_run_knows_what_has_a_result(sweep, tmp_path):
  workdir = tmp_path / 'work dir'
  study = config.parse(tiny.get_config().to_dict())
  (pretraining, *_) = runs.expand(study)
  result = pretraining.stage.directory(workdir) / cache.RESULT
  sweep()
  result.parent.mkdir(parents=True)
  asked = [cache.evaluation_id(pretraining.stage, u) for u in pretraining.stage.evaluated_after]
  result.write_text(json.dumps({'answers_to': asked, 'rows': []}))
  before = sorted(workdir.rglob('*'))
  dry, _ = sweep('--dry_run')
  assert '--array=1-3%32' in dry.stdout and '--array=0' not in dry.stdout
  assert sorted(workdir.rglob('*')) == before


def test_jobs_that_are_still_queued_are_not_submitted_twice(sweep):
  sweep()
  ended, jobs = sweep(QUEUED='101')
  assert ended.returncode == 2 and len(jobs) == 4
  assert 'jobs 101,102,103,104' in ended.stderr and 'still queued' in ended.stderr
  ended, jobs = sweep()
  assert ended.returncode == 0 and len(jobs) == 8


def test_jobs_of_a_sweep_that_was_cut_short_are_not_submitted_twice(sweep, tmp_path):
  ended, jobs = sweep(LIMIT='1')
  assert ended.returncode == 2 and len(jobs) == 1
  assert 'QOSMaxSubmitJobPerUserLimit' in ended.stderr
  assert 'queued before it: 101;' in ended.stderr
  ended, jobs = sweep(QUEUED='101')
  assert ended.returncode == 2 and len(jobs) == 1
  assert '--jobs=101' in (tmp_path / 'record.squeue').read_text()


@pytest.mark.parametrize(
  'said, submits',
  [('Invalid job id specified', True), ('Unable to contact slurm controller', False)],
)
def test_a_queue_that_does_not_answer_is_not_an_empty_one(sweep, said, submits):
  sweep()
  ended, jobs = sweep(SQUEUE=said)
  if submits:  # the jobs ended so long ago that Slurm has forgotten them
    assert ended.returncode == 0 and len(jobs) == 8
  else:
    assert ended.returncode == 2 and len(jobs) == 4
    assert ended.stderr.count('\n') == 1 and said in ended.stderr


@pytest.mark.parametrize(
  'after, env, line',
  [
    ((), {}, 'give -- and the arguments'),
    (('--',), {}, 'give -- and the arguments'),
    (('--', '--config=tests/tiny.py'), {}, 'give --workdir=DIR'),
    (('--', '--config=tests/none.py', '--workdir=WORK'), {}, 'no such file'),
    (TINY, {'MAX_RUNNING': 'x'}, 'MAX_RUNNING=x: must be a number, 1 or more'),
    (TINY, {'MAX_RUNNING': '0'}, 'MAX_RUNNING=0: must be a number, 1 or more'),
  ],
)
def test_bad_input_is_one_line_and_submits_nothing(sweep, after, env, line):
  ended, jobs = sweep(after=after, **env)
  assert ended.returncode == 2 and jobs == []
  assert line in ended.stderr and ended.stderr.count('\n') == 1
