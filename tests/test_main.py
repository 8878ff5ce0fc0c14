"""The command line: exit codes, one line for each fault, nothing left behind by bad input."""

import errno
import os
from pathlib import Path
import signal
import subprocess
import sys

import pytest

from whyjax import command_line, main
from whyjax.study import plan, runner, workdir
from whyjax.training.interrupt import Preempted

TINY = str(Path(__file__).parent / 'tiny.py')
SCALING = Path(__file__).parents[1] / 'configs/scaling.py'


def _main(*args: str) -> int:
  return main.main(['whyjax', *args])


def _process(*args: str, cwd: Path) -> subprocess.Popen:
  env = os.environ | {'PYTHONPATH': str(Path(__file__).parents[1])}
  command = [sys.executable, '-m', 'whyjax.main', *args]
  pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
  return subprocess.Popen(command, cwd=cwd, env=env, text=True, **pipes)


def _config(path: Path, body: str) -> str:
  path.write_text(f'from whyjax import defaults\n\n\ndef get_config(variant="cpu"):\n  {body}\n')
  return f'--config={path}'


def test_overrides_reach_the_study():
  command = command_line.parse(
    [
      'whyjax',
      f'--config={TINY}:gpu',
      '--config.seeds.worlds=3',
      '--config.align_text.replay=0.25',
      '--config.world.informative_reasons=false',
      '--config.arms=generic',
      '--config.arms=reason',
      '--config.later_arms=()',
      '--config.later=()',
      '--config.claims=()',
    ]
  )
  study = command.study
  assert (study.device.platform, study.seeds.worlds, study.align_text.replay) == ('gpu', 3, 0.25)
  assert (study.world.informative_reasons, study.arms, study.later) == (
    False,
    ('generic', 'reason'),
    (),
  )
  assert (command.action, command.workdir) == ('run', Path('runs/tiny'))


@pytest.mark.parametrize(
  ('args', 'line'),
  [
    ([], r'--config: missing; give --config=FILE'),
    (['--config'], 'Missing value for flag --config'),
    (['--config=absent.py'], '--config=absent.py: no such file'),
    (
      [f'--config={SCALING}', '--config.model.width=63'],
      "--config.model.width=63: without effect when config.kind = 'scaling': model.width follows",
    ),
    (
      [f'--config={SCALING}', '--config.pretrain.updates=7'],
      "--config.pretrain.updates=7: without effect when config.kind = 'scaling'",
    ),
    (['--config=.'], '--config=.: no such file'),
    ([f'--config={TINY}:laptop'], "config variant 'laptop': must be one of cpu, gpu, tpu"),
    (
      [f'--config={TINY}', '--config.evals.sampels=3'],
      'config.evals.sampels: unknown field; did you mean samples?',
    ),
    (
      [f'--config={TINY}', '--config.eval.samples=3'],
      'config.eval: unknown field; did you mean evals?',
    ),
    (
      [f'--config={TINY}', '--config.evals.samples.x=3'],
      'config.evals.samples.x: config.evals.samples is a value',
    ),
    (
      [f'--config={TINY}', '--config.evals.samples=many'],
      'flag --config.evals.samples=many: invalid literal',
    ),
    (
      [f'--config={TINY}', '--config.seeds.first_world=-1'],
      'config.seeds.first_world = -1: must be at least 0',
    ),
    (
      [f'--config={TINY}', '--config.arms=reasn'],
      "config.arms = 'reasn': unknown; did you mean reason?",
    ),
    (
      ['--config.evals.samples=3', f'--config={TINY}'],
      'Found --config.evals.samples=3 in argv before',
    ),
    (
      [f'--config={TINY}', '--action=dance'],
      'flag --action=dance: value should be one of <run|plan|samples|report|freeze|sweep|',
    ),
    (
      [f'--config={TINY}', '--actoin=run'],
      "Unknown command line flag 'actoin'. Did you mean: action ?",
    ),
    ([f'--config={TINY}', 'run'], 'run: unexpected argument'),
  ],
)
def test_bad_usage_is_one_line_and_exit_code_2(args, line, capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert _main(*args) == 2
  error = capsys.readouterr().err
  assert error.startswith('whyjax: ' + line)
  assert error.count('\n') == 1
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('body', 'line'),
  [
    ('raise KeyError("width")', "--config: the file fails with KeyError: 'width'"),
    ('return int("three")', '--config: the file fails with ValueError: invalid literal'),
    ('return 3', 'config.py: get_config must return a ConfigDict'),
    ('return oops(', '--config: the file fails with SyntaxError'),
    ('return defaults.study("cpu").modle', '--config: the file fails with AttributeError'),
  ],
)
def test_config_file_that_fails_is_one_line(body, line, capsys, tmp_path):
  assert _main(_config(tmp_path / 'config.py', body)) == 2
  error = capsys.readouterr().err
  assert line in error
  assert error.count('\n') == 1


def test_unknown_arm_fails_before_the_workdir_exists(capsys, tmp_path):
  args = [
    f'--config={TINY}',
    f'--workdir={tmp_path / "w"}',
    '--config.later_arms=()',
    '--config.later=()',
  ]
  assert _main(*args, '--config.arms=demonstration') == 2
  assert (
    "config.arms = 'demonstration': unknown; did you mean demonstrations?"
    in capsys.readouterr().err
  )
  assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize(
  ('fault', 'code', 'line'),
  [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'w/done.json'), 2, 'No space left on device'),
    (OSError(errno.EROFS, os.strerror(errno.EROFS), 'w/done.json'), 2, 'Read-only file system'),
    (
      ValueError('RESOURCE_EXHAUSTED: writing: No space left on device'),
      2,
      'No space left on device',
    ),
    (RuntimeError('one\ntwo'), 1, 'RuntimeError: one two (--debug shows where)'),
    (Preempted('pretrain: stopped and saved', signal.SIGTERM), 143, 'pretrain: stopped and saved'),
    (Preempted('pretrain: stopped and saved', signal.SIGINT), 130, 'pretrain: stopped and saved'),
    (SystemExit(143), 143, 'stopped; the same command goes on from there'),
  ],
)
def test_faults_of_a_run_are_one_line_with_their_exit_code(fault, code, line, capsys, monkeypatch):
  def fail(*_):
    raise fault

  monkeypatch.setattr(runner, 'run', fail)
  assert _main(f'--config={TINY}') == code
  error = capsys.readouterr().err
  assert line in error
  assert error.count('\n') == 1
  assert _main(f'--config={TINY}', '--debug') == code
  assert 'Traceback' in capsys.readouterr().err


def test_help_names_every_action(capsys):
  assert _main('--help') == 0
  text = capsys.readouterr().out
  assert all(f'--action={action}' in text for action in command_line.ACTIONS)


@pytest.mark.parametrize(
  ('name', 'line'),
  [
    ('gs://bucket/w', 'must be a directory of a disk; mount the bucket'),
    ('w' * 300, 'File name too long; give another'),
  ],
)
def test_what_is_no_directory_is_refused(capsys, name, line):
  assert _main(f'--config={TINY}', '--action=expand', f'--workdir={name}') == 2
  said = capsys.readouterr().err
  assert said.count('\n') == 1 and f'--workdir = {name!r}: {line}' in said


def test_a_workdir_at_home_is_at_home(monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))
  found = command_line.parse(['whyjax', f'--config={TINY}', '--workdir=~/w']).workdir
  assert found == tmp_path / 'w'


def test_held_workdir_ends_the_second_process_with_the_name_of_the_first(tmp_path):
  with workdir.hold(tmp_path / 'w', 'tiny'):
    second = _process(f'--config={TINY}', f'--workdir={tmp_path / "w"}', cwd=tmp_path)
    _, error = second.communicate(timeout=60)
  assert second.returncode == 2
  assert f'in use by process {os.getpid()} on ' in error
  assert error.count('\n') == 1


def test_bad_input_ends_a_process_with_code_2_at_once(tmp_path):
  (tmp_path / 'w').write_text('')
  process = _process(f'--config={TINY}', '--workdir=w', cwd=tmp_path)
  assert process.communicate(timeout=60) == (
    '',
    'whyjax: workdir w: is a file; must be a directory\n',
  )
  assert process.returncode == 2


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_a_process_with_its_code_and_frees_the_workdir(tmp_path, number, code):
  process = _process(f'--config={TINY}', '--workdir=w', cwd=tmp_path)
  assert process.stdout.readline().startswith('tiny')
  process.send_signal(number)
  _, error = process.communicate(timeout=60)
  assert (process.returncode, error) == (
    code,
    'whyjax: stopped; the same command goes on from there\n',
  )
  with workdir.hold(tmp_path / 'w', 'tiny'):
    pass


def test_plan_runs_from_the_command_line_and_creates_nothing(capsys, tmp_path, monkeypatch):
  monkeypatch.setattr(plan, 'measured_matmul', lambda study: 1e11)
  assert _main(f'--config={TINY}', '--action=plan', f'--workdir={tmp_path / "w"}') == 0
  assert 'later/reason/neutral' in capsys.readouterr().out
  assert not (tmp_path / 'w').exists()
