"""`launch/slurm/` on a real Slurm: a node dies, a process is killed, jobs are preempted; the study
goes on by itself and finds what a plain run finds, to the bit.

Every delay of Slurm's is as it comes, but for those that `slurm/cluster.sh` sets in slurm.conf.
"""

from collections.abc import Iterator
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys

import pytest

from tests.end_to_end.programs import begun, differences, outcome
from tests.end_to_end.slurm import cluster as slurm
from tests.end_to_end.slurm.cluster import Cluster

ALLOWED = 'WHYJAX_TEST_SLURM'
PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch')
DEVICES = 2  # of all processes together: then the mesh is one, and results are equal to the bit
# Long enough for Slurm to decide and to send a signal; on a fast machine saving takes the time.
UPDATES, SAVED_EVERY = 400, 10
DIALS = [
  '--config=tests/tiny.py',
  '--config.later_arms=()',
  '--config.later=()',
  *[f'--config.{stage}.updates={UPDATES}' for stage in ('pretrain', 'align')],
  *[f'--config.{stage}.checkpoint_every={SAVED_EVERY}' for stage in ('pretrain', 'align')],
  '--config.device.steps_per_dispatch=1',
]


def arguments(workdir: Path, processes: int = 1) -> list[str]:
  """Of the program, for a study of three stages: pretraining and two arms."""
  return [*DIALS, f'--config.device.host_devices={DEVICES // processes}', f'--workdir={workdir}']


def continue_from(alone: Path, workdir: Path, *stages: str) -> None:
  """Makes a workdir in which these stages are finished already."""
  workdir.mkdir()
  shutil.copy(alone / 'whyjax.json', workdir)
  for stage in stages:
    (found,) = alone.glob(f'stages/{stage}-*')
    shutil.copytree(found, workdir / 'stages' / found.name)


@pytest.fixture(name='cluster', scope='module')
def _cluster(tmp_path_factory) -> Iterator[Cluster]:
  """Slurm as it is installed; where WHYJAX_TEST_SLURM is 1, Debian's is installed first."""
  missing = [program for program in PROGRAMS if not shutil.which(program)]
  if missing and os.environ.get(ALLOWED) != '1':
    pytest.skip(f'{missing[0]} is not installed; {ALLOWED}=1 lets the tests install Slurm')
  cluster = Cluster(tmp_path_factory.mktemp('slurm'))
  try:
    if missing:
      slurm.install()
    cluster.start()
    yield cluster
  except slurm.Unavailable as reason:
    pytest.skip(f'no Slurm here: {reason}')
  finally:
    cluster.stop()


@pytest.fixture(name='alone', scope='module')
def _alone(cluster, tmp_path_factory) -> Path:
  """The workdir of a plain run, without Slurm."""
  workdir = tmp_path_factory.mktemp('alone') / 'study'
  command = [sys.executable, '-m', 'whyjax.main', *arguments(workdir)]
  ended = subprocess.run(command, cwd=slurm.ROOT, capture_output=True, text=True, check=False)
  assert ended.returncode == 0, ended.stderr
  cluster.note('the plain run ended')
  return workdir


def test_a_sweep_outlives_one_of_its_nodes(cluster, request, tmp_path):
  workdir = tmp_path / 'study'
  with cluster.explains(workdir):
    jobs = cluster.sweep(arguments(workdir))
    cluster.note('sweep submitted')
    cluster.until('pretraining under way', lambda: begun(workdir, 'pretrain'), jobs)
    node = cluster.shown(jobs[0])[0]['BatchHost']
    cluster.kill(node)
    # Meanwhile the plain run: Slurm waits long before it gives up a node.
    alone = request.getfixturevalue('alone')
    cluster.until(f'{node} known as down', lambda: cluster.node_is(node, 'DOWN'))
    cluster.boot(node)
    cluster.until(f'{node} back', lambda: not cluster.node_is(node, 'DOWN'))
    tasks = cluster.completes(jobs)
    log = (workdir / 'logs/0.log').read_text()
    assert re.search(r'pretrain: resumes at update [1-9]\d* of', log)
    assert [task['Restarts'] for task in tasks] == ['1', '0', '0', '0']
    assert not differences(outcome(workdir), outcome(alone))


def test_preempted_runs_save_and_go_on(cluster, alone, tmp_path):
  workdir = tmp_path / 'study'
  arms = ('align-demonstrations', 'align-reason')
  continue_from(alone, workdir, 'pretrain')
  with cluster.explains(workdir):
    jobs = cluster.sweep(arguments(workdir), '--partition=low')
    cluster.note('sweep submitted')
    cluster.until('both arms under way', lambda: all(begun(workdir, arm) for arm in arms), jobs)
    all_nodes = ('--partition=high', '--nodes=3', '--exclusive', '--output=/dev/null')
    high = cluster.ask('sbatch', '--parsable', *all_nodes, '--wrap=true').strip()
    cluster.note('job of high priority submitted')
    cluster.completes([high])
    tasks = cluster.completes(jobs)
    for run in (1, 2):
      log = (workdir / f'logs/{run}.log').read_text()
      (saved,) = re.findall(r'stopped and saved at update (\d+) of', log)
      assert re.findall(r'resumes at update (\d+) of', log) == [saved]
    assert [task['Restarts'] for task in tasks] == ['1', '1', '0']
    assert not differences(outcome(workdir), outcome(alone))


def test_a_job_of_two_nodes_outlives_a_killed_process(cluster, alone, tmp_path):
  workdir = tmp_path / 'study'
  continue_from(alone, workdir, 'pretrain', 'align-demonstrations')
  with cluster.explains(tmp_path):
    options = ('--nodes=2', f'--output={tmp_path}/job.log')
    job = cluster.job(arguments(workdir, processes=2), *options)
    cluster.note('job submitted')
    cluster.until('the arm under way', lambda: begun(workdir, 'align-reason'), [job])
    slurm.kill_process(1, workdir)
    cluster.note('process 1 killed')
    (task,) = cluster.completes([job])
    log = (tmp_path / 'job.log').read_text()
    # 2: what is left ends 10 s after the other, when Slurm has given up to hear of its SIGTERM; a
    # minute later it sends that once more, by then to the job that goes on. (By default that would
    # not have started yet: it waits two minutes, here 6 s.)
    assert task['Restarts'] in ('1', '2')
    assert log.count('waits for 2 processes') == 2 + 2 * int(task['Restarts'])
    assert re.search(r'align/reason: resumes at update [1-9]\d* of', log)
    assert task['NumNodes'] == '2'
    assert not differences(outcome(workdir), outcome(alone))
