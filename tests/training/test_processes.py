"""Who works on a study with whom: what the environment says, and what follows from it."""

import dataclasses
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import types

import pytest

from whyjax.errors import UserError
from whyjax.training import mesh as meshes
from whyjax.training import processes

ROOT = Path(__file__).parents[2]
VARIABLES = (
  'JAX_COORDINATOR_ADDRESS JAX_NUM_PROCESSES JAX_PROCESS_ID SLURM_STEP_NODELIST SLURM_NTASKS '
  'SLURM_STEP_TASKS_PER_NODE CUDA_VISIBLE_DEVICES OMPI_COMM_WORLD_SIZE TPU_PROCESS_ADDRESSES '
  'TPU_WORKER_HOSTNAMES'
).split()
SLURM = {'SLURM_STEP_NODELIST': 'node[1-2]', 'SLURM_NTASKS': '2'}


@pytest.fixture
def environment(monkeypatch):
  """Sets variables after all that could speak of a cluster are gone."""
  for name in VARIABLES:
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv('TPU_SKIP_MDS_QUERY', '1')

  def put(**variables):
    for name, value in variables.items():
      monkeypatch.setenv(name, value)

  return put


@pytest.mark.parametrize(
  'variables',
  [
    {},
    {'SLURM_NTASKS': '4'},  # of sbatch, without srun
    {'SLURM_STEP_NODELIST': 'node1', 'SLURM_NTASKS': '1'},
    {'OMPI_COMM_WORLD_SIZE': '1'},
    {'TPU_WORKER_HOSTNAMES': 'localhost'},
  ],
)
@pytest.mark.parametrize('platform', ['cpu', 'gpu', 'tpu'])
def test_a_process_on_its_own_joins_nobody(environment, variables, platform):
  environment(**variables)
  assert processes.find(platform) is None


def test_the_coordinator_is_taken_from_the_environment(environment):
  environment(JAX_COORDINATOR_ADDRESS='a:1', JAX_NUM_PROCESSES='4', JAX_PROCESS_ID='3')
  found = processes.find('cpu')
  assert found.count == 4
  assert found.arguments == dict(coordinator_address='a:1', num_processes=4, process_id=3)


@pytest.mark.parametrize(
  ('name', 'value', 'allowed'),
  [
    ('JAX_COORDINATOR_ADDRESS', '10.0.0.1', 'HOST:PORT'),
    ('JAX_COORDINATOR_ADDRESS', 'a:70000', 'HOST:PORT'),
    ('JAX_NUM_PROCESSES', 'two', 'a number of at least 1'),
    ('JAX_NUM_PROCESSES', '0', 'a number of at least 1'),
    ('JAX_NUM_PROCESSES', '', 'a number of at least 1'),
    ('JAX_PROCESS_ID', '2', 'a number from 0 to 1'),
    ('JAX_PROCESS_ID', '-1', 'a number from 0 to 1'),
  ],
)
def test_a_coordinator_alone_is_not_enough(environment, name, value, allowed):
  known = dict(JAX_COORDINATOR_ADDRESS='a:1', JAX_NUM_PROCESSES='2', JAX_PROCESS_ID='0')
  environment(**known | {name: value})
  said = f'{name} = {value!r}' if value else f'{name} is not set'
  with pytest.raises(UserError, match=f'{said}: must be {allowed}'):
    processes.find('cpu')


@pytest.mark.parametrize('name', ['SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE'])
def test_a_cluster_that_counts_in_words_is_refused(environment, name):
  environment(**{'SLURM_STEP_NODELIST': 'node1', name: 'x'})
  with pytest.raises(UserError, match=f"{name} = 'x': must be a number"):
    processes.find('cpu')


@pytest.mark.parametrize(
  ('tasks', 'visible', 'ids'),
  [('1(x2)', '0,1,2,3', [0, 1, 2, 3]), ('1', '2', [0]), ('4(x2)', '0,1,2,3', None)],
)
def test_one_task_a_node_takes_all_gpus_of_its_node(environment, tasks, visible, ids):
  environment(**SLURM, SLURM_STEP_TASKS_PER_NODE=tasks, CUDA_VISIBLE_DEVICES=visible)
  assert processes.find('gpu').arguments.get('local_device_ids') == ids
  assert processes.find('cpu').arguments == {} and processes.find('cpu').count == 2


def test_mpi_and_pods_are_found(environment):
  environment(OMPI_COMM_WORLD_SIZE='3')
  assert processes.find('cpu').count == 3
  environment(OMPI_COMM_WORLD_SIZE='1', TPU_WORKER_HOSTNAMES='a,b,c,d')
  assert processes.find('tpu').count == 4 and processes.find('gpu') is None


def test_to_insist_on_others_needs_others(environment, tiny):
  with pytest.raises(UserError, match=r"--distributed = 'on': nothing says"):
    processes.start('on', tiny.device)
  environment(**SLURM)
  processes.start('off', tiny.device)
  assert not processes.several() and processes.is_first()


def test_alone_one_decides_oneself():
  def refuse():
    raise UserError('no')

  assert processes.agreed(lambda: [1]) == [1]
  with pytest.raises(UserError, match='no'):
    processes.first_does(refuse)
  assert processes.STOP.poll() is None


@pytest.mark.parametrize('count', [1, 3, 6, 7, 8])
def test_a_smaller_mesh_leaves_no_process_without_devices(count):
  devices = [types.SimpleNamespace(id=i, process_index=i // 4) for i in range(8)]
  chosen = [device.id for device in meshes._spread(devices, count)]
  assert chosen == sorted(chosen) and len(chosen) == count
  first = sum(i < 4 for i in chosen)
  assert abs(first - (count - first)) <= 1


@pytest.mark.parametrize(('replicas', 'rows', 'shape'), [(3, 16, (1, 8)), (6, 16, (2, 4))])
def test_every_process_takes_part_before_replicas_spread(tiny, replicas, rows, shape):
  device = dataclasses.replace(tiny.device, mesh_replica=0, mesh_data=0)
  found = meshes.mesh_shape(device, replicas, rows, available=8, processes=8)
  assert found == (*shape, 1)


def test_processes_without_work_are_refused(tiny):
  device = dataclasses.replace(tiny.device, mesh_replica=0, mesh_data=0)
  with pytest.raises(UserError, match='must be at least the 8 processes; 3 replicas of 5 rows'):
    meshes.mesh_shape(device, 3, 5, available=8, processes=8)


_MEMBER = """
import sys, time
from tests import tiny
from whyjax import config
from whyjax.errors import UserError
from whyjax.training import processes
processes._START_SECONDS = {seconds}
device = config.parse(tiny.get_config().to_dict()).device
with processes.joined('on', device):
  first = processes.is_first()
  print('ready', flush=True)
  {work}
"""


def _members(work: str, address='', indices=(0, 1), seconds=60) -> list[subprocess.Popen]:
  """Two processes, or some of them, that join and then do this."""
  env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
  if not address:
    with socket.socket() as free:
      free.bind(('127.0.0.1', 0))
      address = f'127.0.0.1:{free.getsockname()[1]}'
  env |= dict(JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES='2')
  return [
    subprocess.Popen(
      [sys.executable, '-c', _MEMBER.format(work=work, seconds=seconds)],
      env=env | {'JAX_PROCESS_ID': str(index)},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      cwd=ROOT,
    )
    for index in indices
  ]


def _ends(members: list[subprocess.Popen]) -> tuple[list[int], list[str]]:
  said = [member.communicate(timeout=60)[1] for member in members]
  return [member.returncode for member in members], said


def test_bad_input_that_one_process_alone_finds_is_said_and_ends_it_at_once():
  """The others would wait for it, and it for them, and nobody would hear why."""
  codes, said = _ends(
    _members("if not first: raise UserError('damaged')\n  while True: time.sleep(1)")
  )
  assert codes[1] == 2 and codes[0] != 0
  assert said[1].endswith('whyjax: process 1: damaged\n')


def test_bad_input_that_all_find_ends_all_alike():
  codes, said = _ends(_members("raise UserError('damaged')"))
  assert codes == [2, 2]
  assert said[0].endswith('whyjax: damaged\n')


def test_a_reader_that_leaves_ends_its_process():
  """As `| head` does to the first one: Rich raises SystemExit."""
  first, second = _members('if first: raise SystemExit(1)\n  while True: time.sleep(1)')
  (code,), (said,) = _ends([first])
  second.kill()
  second.communicate()
  assert code == 1 and 'nobody reads the output; the same command goes on from there' in said


def test_ctrl_c_in_one_process_is_a_wish_of_all():
  members = _members('while not processes.STOP.poll(): time.sleep(0.05)')
  assert [member.stdout.readline() for member in members] == ['ready\n'] * 2
  members[1].send_signal(signal.SIGINT)
  assert _ends(members)[0] == [0, 0]


@pytest.mark.parametrize('index', [0, 1])
def test_processes_that_do_not_come_are_missed_in_one_line(index):
  codes, said = _ends(_members('', indices=[index], seconds=2))
  assert codes == [75]
  assert said[0].endswith(': not all of 2 processes came within 2 s\n')


def test_a_port_in_use_is_said():
  with socket.create_server(('', 0)) as taken:
    address = f'127.0.0.1:{taken.getsockname()[1]}'
    codes, said = _ends(_members('', address, [0]))
  assert codes == [1] and 'Address already in use; give another port' in said[0]


_STUCK = """
import sys, time
from whyjax.training.watchdog import Watchdog
with Watchdog(float(sys.argv[1]), 'align/reason') as watchdog:
  for action in sys.argv[2:]:
    if action == 'seen':
      watchdog.seen()
    elif action == 'rest':
      watchdog.rest()
    else:
      time.sleep(float(action))
"""


@pytest.mark.parametrize(
  ('arguments', 'code'),
  [
    (['0.2', 'seen', '30'], 75),
    (['0.2', 'seen', '0.1', 'seen', 'rest', '0.6'], 0),
    (['0.2', '0.6'], 0),
    (['0', 'seen', '0.6'], 0),
  ],
)
def test_steps_that_stop_coming_end_the_process(arguments, code):
  done = subprocess.run(
    [sys.executable, '-c', _STUCK, *arguments], capture_output=True, text=True, timeout=25
  )
  assert done.returncode == code
  assert ('align/reason: no step for 0.2 s' in done.stderr) == (code == 75)


_SLOW = """
import sys, time
from whyjax import main
from whyjax.training import loop
stack, waits = loop._stack, [float(seconds) for seconds in sys.argv.pop(1).split(',')]
def slow(*arguments):
  time.sleep(waits.pop(0) if waits else 0)
  return stack(*arguments)
loop._stack = slow
sys.exit(main.main(sys.argv))
"""


@pytest.mark.parametrize(('waits', 'code'), [('0,0,0,60', 75), ('0.7,0.7,0.7,0.7,0.7,0.7', 0)])
def test_a_dispatch_that_hangs_ends_training_and_slow_ones_do_not(tmp_path, waits, code):
  dials = [
    'arms=("none",)',
    'later_arms=()',
    'later=()',
    'claims=()',
    'pretrain.checkpoint_every=6',
  ]
  dials += ['device.step_timeout=2', 'device.steps_per_dispatch=1', 'device.compile_cache=']
  words = ['--config=tests/tiny.py', f'--workdir={tmp_path}/w', *(f'--config.{d}' for d in dials)]
  done = subprocess.run(
    [sys.executable, '-c', _SLOW, waits, *words],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=90,
  )
  assert done.returncode == code, done.stderr
  assert ('pretrain: no step for 2 s' in done.stderr) == (code == 75)
