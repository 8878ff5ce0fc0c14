"""The archive of the code that goes to a cloud: what is in it, and that the program there knows
where it comes from."""

from pathlib import Path
import shutil
import subprocess
import sys

import pytest

ROOT = Path(__file__).parents[2]
COMMIT = 'from whyjax.study import provenance; print(provenance.commit())'


@pytest.fixture(name='checkout')
def _checkout(tmp_path) -> Path:
  """A repository with the package and a few files more, one of them not under version control."""
  folder = tmp_path / 'repository'
  shutil.copytree(ROOT / 'whyjax', folder / 'whyjax')
  (folder / 'launch').mkdir()
  shutil.copy(ROOT / 'launch/archive.sh', folder / 'launch')
  for name in ('a file', 'deleted', 'link'):
    (folder / name).write_text(name)
  (folder / 'link').unlink()
  (folder / 'link').symlink_to('nowhere')
  git(folder, 'init --quiet')
  git(folder, 'add .')
  git(folder, '-c user.name=n -c user.email=e commit --quiet --message=m')
  (folder / 'untracked').touch()
  return folder


def git(folder: Path, command: str) -> None:
  subprocess.run(['git', *command.split()], cwd=folder, check=True)


def unpacked(checkout: Path) -> Path:
  """The folder of the archive's files."""
  folder = checkout.with_name('unpacked')
  folder.mkdir()
  archive = subprocess.run([checkout / 'launch/archive.sh'], stdout=subprocess.PIPE, check=True)
  subprocess.run(['tar', 'x'], cwd=folder, input=archive.stdout, check=True)
  return folder


def commit(folder: Path) -> str:
  """What the program says there of its code."""
  command = [sys.executable, '-c', COMMIT]
  return subprocess.check_output(command, cwd=folder, text=True).strip()


def test_the_archive_holds_what_is_tracked_and_here(checkout):
  (checkout / 'deleted').unlink()
  (checkout / 'a file').write_text('changed')
  folder = unpacked(checkout)
  assert {path.name for path in folder.iterdir()} == {
    'COMMIT', 'a file', 'launch', 'link', 'whyjax'
  }  # fmt: skip
  assert (folder / 'a file').read_text() == 'changed'


@pytest.mark.parametrize('dirty', [False, True])
def test_the_program_knows_the_commit_where_there_is_no_git(checkout, dirty):
  if dirty:
    (checkout / 'deleted').unlink()
  told = commit(unpacked(checkout))
  assert told == commit(checkout)
  assert told.endswith('-dirty') == dirty and len(told.removesuffix('-dirty')) == 40


def test_code_without_git_and_archive_is_of_no_commit(checkout):
  shutil.rmtree(checkout / '.git')
  assert commit(checkout) == ''


def test_outside_git_there_is_no_archive(checkout):
  shutil.rmtree(checkout / '.git')
  ended = subprocess.run([checkout / 'launch/archive.sh'], capture_output=True, check=False)
  assert ended.returncode and not ended.stdout
