"""The cluster of `cluster.sh` for tests: submits the launch scripts, waits, and tells what
happened."""

from collections.abc import Callable, Iterator
import contextlib
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name('cluster.sh')
NODE = ('--cpus-per-task=2', '--mem=1G')  # a job takes all of a node's CPUs
SECONDS = 300  # that anything may take on a machine that others use
TAIL = 3000  # characters of a log in the message of a failed test


class Unavailable(Exception):
  """Slurm can't be had on this machine, and why."""


class Cluster:
  """Three nodes of two CPUs, node1 to node3; jobs of the partition `high` preempt those of
  `low`."""

  def __init__(self, directory: Path):
    """`directory` takes all that Slurm writes."""
    self._directory = directory
    outside = {k: v for k, v in os.environ.items() if not k.startswith(('SLURM_', 'SBATCH_'))}
    self._environment = outside | {
      'SLURM_CONF': str(directory / 'slurm.conf'),
      'PYTHON': sys.executable,
      'TF_CPP_MIN_LOG_LEVEL': '2',
    }
    self._begun = time.monotonic()

  def start(self) -> None:
    """Returns when all nodes are idle.

    Raises:
      Unavailable: there can be no Slurm here.
    """
    code, said = self._script('start')
    if code == 2:
      raise Unavailable(said)
    assert code == 0, said + self.told()

  def stop(self) -> None:
    """Ends all jobs, nodes and the controller."""
    self._script('stop')

  def kill(self, node: str) -> None:
    """Ends a node and all that runs there, as loss of power does."""
    assert self._script('kill', node) == (0, '')
    self.note(f'{node} killed')

  def boot(self, node: str) -> None:
    """Starts a killed node again."""
    assert self._script('boot', node) == (0, '')
    self.note(f'{node} booted')

  def _script(self, action: str, *node: str) -> tuple[int, str]:
    """(exit code, last line of what was said); by a file, which daemons may keep open."""
    path = self._directory / 'script.log'
    with open(path, 'w') as log:
      command = [SCRIPT, action, self._directory, *node]
      ended = subprocess.run(command, stdout=log, stderr=log, timeout=SECONDS, check=False)
    return ended.returncode, ''.join(path.read_text().splitlines()[-1:])

  def ask(self, *command: str) -> str:
    """What a command of Slurm prints."""
    ended = subprocess.run(
      command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f'{command}: {ended.stderr}'
    return ended.stdout

  def sweep(self, arguments: list[str], *options: str) -> list[str]:
    """Submits a study by sweep.sh; returns the numbers of its jobs."""
    said = self.ask('launch/slurm/sweep.sh', *NODE, *options, '--', *arguments)
    return re.findall(r'\d+', said)

  def job(self, arguments: list[str], *options: str) -> str:
    """Submits a study as one job by train.sbatch; returns its number."""
    script = ('launch/slurm/train.sbatch', *arguments)
    return self.ask('sbatch', '--parsable', *NODE, *options, *script).strip()

  def shown(self, job: str) -> list[dict[str, str]]:
    """What Slurm knows of a job, of each task if it is an array."""
    lines = self.ask('scontrol', '--oneliner', 'show', 'job', job).splitlines()
    return [dict(re.findall(r'(\w+)=(\S*)', line)) for line in lines if line.strip()]

  def node_is(self, node: str, word: str) -> bool:
    """Whether a word such as DOWN or IDLE is in the state of a node."""
    return f'State={word}' in self.ask('scontrol', '--oneliner', 'show', 'node', node)

  def until(self, what: str, holds: Callable[[], object], jobs: list[str] | None = None) -> None:
    """Waits for something that must come, and while `jobs` are queued or run, if any are given."""
    deadline = time.monotonic() + SECONDS
    while not holds():
      assert time.monotonic() < deadline, f'{what}: waited {SECONDS} s in vain'
      assert jobs is None or self._left(jobs) or holds(), (
        f'{what}: never, and the jobs {jobs} have ended'
      )
      time.sleep(0.1)
    self.note(what)

  def _left(self, jobs: list[str]) -> str:
    return self.ask('squeue', '--noheader', f'--jobs={",".join(jobs)}')

  def completes(self, jobs: list[str]) -> list[dict[str, str]]:
    """Waits until all jobs have ended well; returns what Slurm knows of them and their tasks."""
    self.until(f'jobs {jobs} ended', lambda: not self._left(jobs), jobs)
    shown = [task for job in jobs for task in self.shown(job)]
    states = [(task['JobId'], task['JobState'], task['Reason']) for task in shown]
    assert {state for _, state, _ in states} == {'COMPLETED'}, states
    return shown

  def note(self, what: str) -> None:
    """Says when something happened; pytest shows it of a failed test, and with -s of all."""
    print(f'{time.monotonic() - self._begun:6.1f} s  {what}', flush=True)

  def told(self, *logs: Path) -> str:
    """The ends of these logs and of Slurm's own."""
    own = [self._directory / 'slurmctld.log', *sorted(self._directory.glob('node?.log'))]
    return ''.join(
      f'\n--- {path.name}\n{path.read_text(errors="replace")[-TAIL:]}'
      for path in (*logs, *own)
      if path.exists()
    )

  @contextlib.contextmanager
  def explains(self, logs: Path) -> Iterator[None]:
    """What fails inside says what the jobs, whose logs are in that directory, and Slurm said; jobs
    that are left are cancelled."""
    try:
      yield
    except Exception as error:
      jobs = self.ask('squeue', '--array') + self.ask('scontrol', 'show', 'job')
      error.add_note(self.told(*sorted(logs.glob('**/*.log'))) + f'\n--- jobs\n{jobs}')
      raise
    finally:
      self.ask('scancel', '--user=root')


def install() -> None:
  """Installs Debian's packages of Slurm.

  Raises:
    Unavailable: that is impossible here.
  """
  ended = subprocess.run(
    [SCRIPT, 'install'],
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    check=False,
  )
  if ended.returncode:
    raise Unavailable(''.join(ended.stdout.splitlines()[-1:]) or 'cluster.sh install failed')


def kill_process(rank: int, workdir: Path) -> None:
  """Ends one of the processes that work on a study, by SIGKILL."""
  for directory in Path('/proc').glob('[0-9]*'):
    try:
      command, environment = (
        (directory / name).read_text(errors='replace').split('\0')
        for name in ('cmdline', 'environ')
      )
    except OSError:
      continue  # it has just ended
    of_study = command[0] == sys.executable and f'--workdir={workdir}' in command
    if of_study and f'SLURM_PROCID={rank}' in environment:
      os.kill(int(directory.name), signal.SIGKILL)
      return
  raise AssertionError(f'no process {rank} works on {workdir}')
