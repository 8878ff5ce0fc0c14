"""A workdir is of one study, held by one process, and never half-written."""

import contextlib
import errno
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading

import pytest

from whyjax.errors import UserError
from whyjax.study import workdir

_HOLDER = """
import sys, time
from pathlib import Path
from whyjax.study import workdir
with workdir.hold(Path(sys.argv[1]), 'mine'):
  print('held', flush=True)
  time.sleep(60)
"""


def _names(path: Path) -> list[str]:
  return sorted(p.name for p in path.iterdir())


def test_new_nested_directory_is_made_marked_and_reopened(tmp_path):
  path = tmp_path / 'a' / 'b'
  for _ in range(2):
    with workdir.hold(path, 'mine'):
      assert workdir.MARKER in _names(path)
  workdir.check(path, 'mine')


def test_check_alone_creates_nothing(tmp_path):
  workdir.check(tmp_path / 'new', 'mine')
  assert not (tmp_path / 'new').exists()


def test_foreign_directory_is_refused_and_left_as_it_was(tmp_path):
  (tmp_path / 'thesis.tex').write_text('')
  with pytest.raises(UserError, match=r'thesis\.tex'), workdir.hold(tmp_path, 'mine'):
    pass
  assert _names(tmp_path) == ['thesis.tex']


def test_workdir_of_another_study_is_refused_by_both_names(tmp_path):
  with workdir.hold(tmp_path, 'yours'):
    pass
  with pytest.raises(UserError, match=r"'yours'.*'mine'"), workdir.hold(tmp_path, 'mine'):
    pass


@pytest.mark.parametrize('marker', ['', '{"schema": 1', '[]', '{"schema": 99, "study": "mine"}'])
def test_damaged_or_newer_marker_is_refused(tmp_path, marker):
  (tmp_path / workdir.MARKER).write_text(marker)
  with pytest.raises(UserError, match=r'damaged|schema 99'), workdir.hold(tmp_path, 'mine'):
    pass
  assert (tmp_path / workdir.MARKER).read_text() == marker


def test_file_and_unwritable_place_are_refused(tmp_path):
  file = tmp_path / 'file'
  file.write_text('')
  with pytest.raises(UserError, match='is a file'), workdir.hold(file, 'mine'):
    pass
  for place in (file / 'below', Path('/proc/whyjax')):  # nobody, not even root, can make these
    with pytest.raises(UserError, match='cannot be written'), workdir.hold(place, 'mine'):
      pass


def test_opening_killed_half_way_can_be_repeated(tmp_path):
  (tmp_path / workdir.LOCK).write_text('')
  (tmp_path / (workdir.MARKER + '.tmp')).write_text('{"sch')
  with workdir.hold(tmp_path, 'mine'):
    workdir.check(tmp_path, 'mine')


def test_second_process_is_told_who_holds_it_and_a_killed_holder_leaves_no_lock(tmp_path):
  holder = subprocess.Popen(
    [sys.executable, '-c', _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
  )
  try:
    assert holder.stdout.readline() == 'held\n'
    with (
      pytest.raises(UserError, match=f'process {holder.pid} on .* since 20'),
      workdir.hold(tmp_path, 'mine'),
    ):
      pass
  finally:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
  with workdir.hold(tmp_path, 'mine'):
    pass


def test_failed_write_keeps_the_old_file_whole(tmp_path, monkeypatch):
  path = tmp_path / 'done.json'
  workdir.write_atomic(path, 'old')

  def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(OSError, match='No space'):
    workdir.write_atomic(path, 'new and longer')
  assert path.read_text() == 'old'
  assert _names(tmp_path) == ['done.json']  # the draft does not take the room of what comes next


def test_drafts_of_a_killed_process_are_taken_away_by_who_is_alone(tmp_path, monkeypatch):
  stage = tmp_path / 'stages' / 'pretrain-1'
  with workdir.hold(tmp_path, 'mine'):
    stage.mkdir(parents=True)
  with monkeypatch.context() as killed:
    killed.setattr(os, 'replace', lambda *_: None)
    workdir.write_atomic(tmp_path / 'runs.jsonl', 'drafted')
    workdir.write_atomic(stage / 'done.json', 'drafted')
  stranger = stage / 'results.parquet.17.tmp'
  stranger.write_text('not of write_atomic')
  (draft,) = stage.glob('done.json.*')
  with workdir.hold(tmp_path, 'mine', shared=True):
    assert draft.exists()  # another may be writing it
  with workdir.hold(tmp_path, 'mine'):
    assert not draft.exists() and not list(tmp_path.glob('runs.jsonl*')) and stranger.exists()


def test_a_holder_of_a_directory_clears_it_alone(tmp_path):
  mine, other = tmp_path / 'mine', tmp_path / 'other'
  for stage in (mine, other):
    stage.mkdir()
    (stage / 'done.json.host-17.tmp').write_text('')
  with workdir.lock(mine, 'mine'):
    assert _names(mine) == ['lock'] and _names(other) == ['done.json.host-17.tmp']


def test_who_is_patient_waits_for_the_holder(tmp_path):
  with contextlib.ExitStack() as held:
    held.enter_context(workdir.hold(tmp_path, 'mine', shared=True))
    with pytest.raises(UserError, match='in use'), workdir.hold(tmp_path, 'mine', patience=0.1):
      pass
    threading.Timer(0.5, held.close).start()
    with workdir.hold(tmp_path, 'mine', patience=30):
      pass


def test_a_directory_that_may_not_be_written_is_refused_although_its_lock_may(tmp_path):
  with workdir.hold(tmp_path, 'mine'):
    pass
  tmp_path.chmod(0o555)
  try:
    ended = subprocess.run(
      [*_without_override(), sys.executable, '-c', _HOLDER, str(tmp_path)],
      capture_output=True,
      text=True,
      check=False,
    )
  finally:
    tmp_path.chmod(0o755)
  assert ended.returncode == 1 and ended.stdout == ''
  assert f'UserError: workdir {tmp_path}: cannot be written (Permission denied)' in ended.stderr


def _without_override() -> list[str]:
  """What makes root obey permissions, too."""
  return ['setpriv', '--bounding-set=-dac_override'] if os.geteuid() == 0 else []


def test_of_those_that_share_a_workdir_one_that_still_holds_it_is_named(tmp_path):
  """The last to come may be gone already."""
  last = 'from whyjax.study import workdir; import pathlib, sys\n'
  last += 'with workdir.hold(pathlib.Path(sys.argv[1]), "mine", shared=True): pass'
  with workdir.hold(tmp_path, 'mine', shared=True):
    subprocess.run([sys.executable, '-c', last, tmp_path], check=True)
    with (
      pytest.raises(UserError, match=f'in use by process {os.getpid()} on'),
      workdir.hold(tmp_path, 'mine', patience=0),
    ):
      pass
  with workdir.hold(tmp_path, 'mine'):
    assert len((tmp_path / workdir.LOCK).read_text().splitlines()) == 1
