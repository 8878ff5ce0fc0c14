"""Many processes as one program: how they find each other, agree, and stop together.

Every process runs the same code on its own devices. What depends on the file system is decided by
the first process and told to the others, and only the first writes (Orbax apart, which divides the
writing of a checkpoint): so all take the same turns, on a file system that they share.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn, TypeVar
import urllib.request

import numpy as np

from whyjax.config import DeviceConfig
from whyjax.errors import UserError, disk_fault, ending

STUCK = 75  # exit code: a step or a peer does not answer; the same command goes on from there
_START_SECONDS = 120  # that a process waits for all others to start
_HEARTBEAT_SECONDS = 10  # after which a silent process counts as lost
_METADATA = 'http://metadata.google.internal/computeMetadata/v1/instance/attributes/'

T = TypeVar('T')
_here = {'index': 0, 'count': 1}  # of this process, as long as it has not joined others


class Agreed(UserError):
  """Bad input that all of several processes know of."""


@dataclasses.dataclass(frozen=True)
class Found:
  """What the environment says of this process.

  Attributes:
    by: who says so, for people.
    arguments: of jax.distributed.initialize; it finds out by itself what is not there.
    count: of processes.
  """

  by: str
  arguments: dict[str, Any]
  count: int


def find(platform: str) -> Found | None:
  """The cluster that this process is a part of; None for a process on its own.

  `jax.distributed.initialize` fails, or waits for ever, where there is no cluster: so it is called
  only where the environment speaks of several processes.

  Raises:
    UserError: a variable is missing, or says what cannot be.
  """
  env = os.environ
  if address := env.get('JAX_COORDINATOR_ADDRESS'):
    host, _, port = address.rpartition(':')
    if not (host and port.isdecimal() and int(port) < 2**16):
      raise UserError(f'JAX_COORDINATOR_ADDRESS = {address!r}: must be HOST:PORT')
    count = _number('JAX_NUM_PROCESSES', least=1)
    index = _number('JAX_PROCESS_ID', most=count - 1)
    arguments = dict(coordinator_address=address, num_processes=count, process_id=index)
    return Found(f'JAX_COORDINATOR_ADDRESS = {address}', arguments, count)
  if 'SLURM_STEP_NODELIST' in env and (count := _number('SLURM_NTASKS', unsaid='1')) > 1:
    arguments = {}
    # With one task a node JAX would take the first GPU of each node and leave the others idle.
    if platform == 'gpu' and re.fullmatch(
      r'1(\(x\d+\))?', env.get('SLURM_STEP_TASKS_PER_NODE', '')
    ):
      visible = env.get('CUDA_VISIBLE_DEVICES', '')
      arguments['local_device_ids'] = list(range(len(visible.split(',')))) if visible else [0]
    return Found('Slurm', arguments, count)
  if (count := _number('OMPI_COMM_WORLD_SIZE', unsaid='1')) > 1:
    return Found('Open MPI', {}, count)
  if platform == 'tpu' and (hosts := _tpu_hosts()) > 1:
    return Found('TPU pod', {}, hosts)
  return None


def _number(name: str, least: int = 0, most: int | None = None, unsaid: str = '') -> int:
  """What a variable says, or `unsaid` where it is not set."""
  value = os.environ.get(name, unsaid)
  if not value.isdecimal() or int(value) < least or (most is not None and int(value) > most):
    allowed = f'of at least {least}' if most is None else f'from {least} to {most}'
    found = f'{name} = {value!r}' if value else f'{name} is not set'
    raise UserError(f'{found}: must be a number {allowed}')
  return int(value)


def _tpu_hosts() -> int:
  """Hosts of this TPU slice: GKE says so in the environment, a TPU VM on its metadata server."""
  names = os.environ.get('TPU_PROCESS_ADDRESSES') or os.environ.get('TPU_WORKER_HOSTNAMES')
  if not names and 'TPU_SKIP_MDS_QUERY' not in os.environ:
    request = urllib.request.Request(
      _METADATA + 'worker-network-endpoints', headers={'Metadata-Flavor': 'Google'}
    )
    try:
      with urllib.request.urlopen(request, timeout=5) as answer:
        names = answer.read().decode()
    except OSError:
      pass
  return len(names.split(',')) if names else 1


@contextlib.contextmanager
def joined(mode: str, device: DeviceConfig) -> Iterator[None]:
  """Joins the other processes, if there are any, and ends with them; see `start`.

  A fault that only this process may know of ends it at once: the others wait for it in the middle
  of a computation, and learn from its end that it is gone.
  """
  from whyjax.training.interrupt import Preempted

  start(mode, device)
  try:
    yield
  except (Agreed, Preempted):
    raise  # in all processes alike
  except (SystemExit, Exception) as error:
    if several():
      line, code = fault(error)
      if isinstance(error, UserError):
        time.sleep(2)  # the others may come to the same, and each ends by itself
      elif code == 1 and isinstance(error, Exception):
        # What fails first when another process is lost may be anything: give the runtime the time
        # to notice, and to end this process as it ends the others.
        time.sleep(_HEARTBEAT_SECONDS + 2)
      leave(line if is_first() else f'process {_here["index"]}: {line}', code)
    raise


def start(mode: str, device: DeviceConfig) -> None:
  """Joins the other processes, if there are any, and then starts the backend; call it before any
  other use of JAX.

  Args:
    mode: 'auto': where the environment speaks of several processes; 'on': it must; 'off': never.
    device: how the program runs.

  Raises:
    UserError: mode is 'on' and there is nothing to join, or what the environment says is not so.
  """
  found = None if mode == 'off' else find(device.platform)
  if found is None:
    if mode == 'on':
      raise UserError(
        "--distributed = 'on': nothing says which process this is; start it by srun or mpirun, or "
        'set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID'
      )
    return
  line = f'{found.by}: waits for {found.count} processes, {_START_SECONDS} s at most'
  print(line, file=sys.stderr, flush=True)
  import jax  # a finished study on a machine of its own does not need it

  from whyjax.training import mesh

  if device.platform == 'cpu':
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  if found.arguments.get('process_id') == 0:
    _check_free(found.arguments['coordinator_address'])
  # When not all come in time JAX aborts without a word that helps; so it is not waited for.
  missing = f'{found.by}: not all of {found.count} processes came within {_START_SECONDS} s'
  late = threading.Timer(_START_SECONDS, leave, (missing, STUCK))
  late.daemon = True
  late.start()
  try:
    jax.distributed.initialize(
      **found.arguments,
      initialization_timeout=2 * _START_SECONDS,
      heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
    )
  except (KeyError, ValueError) as error:
    raise UserError(f'{found.by}: does not say where the other processes are ({error})') from None
  except RuntimeError as error:
    leave(f'{found.by}: {str(error).splitlines()[0]}', STUCK)
  finally:
    late.cancel()
  mesh.start_backend(device)
  _here.update(index=jax.process_index(), count=jax.process_count())
  if several():
    signal.signal(signal.SIGINT, _stop_all)


def _check_free(address: str) -> None:
  """Raises a UserError unless this process can listen there: JAX dies of it without a word."""
  try:
    socket.create_server(('', int(address.rpartition(':')[2]))).close()
  except OSError as error:
    why = os.strerror(error.errno)
    raise UserError(f'JAX_COORDINATOR_ADDRESS = {address!r}: {why}; give another port') from None


def _stop_all(*_) -> None:
  """Ctrl-C in one of several processes ends them together, as SIGTERM does; a second one ends this
  process at once."""
  signal.signal(signal.SIGINT, signal.SIG_DFL)
  os.kill(os.getpid(), signal.SIGTERM)


def several() -> bool:
  """Whether this is one of several processes."""
  return _here['count'] > 1


def is_first() -> bool:
  """Whether this process writes and speaks for all."""
  return _here['index'] == 0


def agreed(decide: Callable[[], T]) -> T:
  """The value, plain JSON, of `decide()` in the first process: the others do not call it.

  Raises:
    Agreed: `decide` raised a UserError in the first process.
  """
  if not several():
    return decide()
  from jax.experimental import multihost_utils

  said = b''
  if is_first():
    try:
      said = json.dumps({'value': decide()}).encode()
    except UserError as error:
      said = json.dumps({'error': str(error)}).encode()
  length = int(multihost_utils.broadcast_one_to_all(np.int32(len(said))))
  # Of few sizes, because each is a program.
  padded = np.zeros(1 << max(length - 1, 1).bit_length(), np.uint8)
  padded[: len(said)] = np.frombuffer(said, np.uint8)
  told = json.loads(bytes(multihost_utils.broadcast_one_to_all(padded)[:length]))
  if 'error' in told:
    raise Agreed(told['error'])
  return told['value']


def first_does(work: Callable[[], Any]) -> None:
  """Runs `work` in the first process while the others wait for its end."""

  def do() -> None:
    work()

  agreed(do)


def everywhere(holds: bool) -> bool:
  """Whether something holds in every process."""
  if not several():
    return holds
  from jax.experimental import multihost_utils

  return bool(multihost_utils.process_allgather(np.bool_(holds)).all())


def fetch(tree: Any) -> Any:
  """Arrays of one mesh on the host, whole in every process, wherever their parts lie."""
  import jax

  if not several():
    return jax.device_get(tree)
  mesh = jax.tree.leaves(tree)[0].sharding.mesh
  return jax.device_get(jax.tree.map(lambda x: x.addressable_data(0), _gather(mesh)(tree)))


@functools.cache
def _gather(mesh) -> Callable:
  """tree -> the same, whole on every device of `mesh`. One program gathers all leaves: between
  processes each exchange has a latency of milliseconds, whatever its size."""
  import jax

  whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  return jax.jit(lambda tree: tree, out_shardings=whole)


class Stop:
  """Whether all processes are to save and end: one of them was asked to.

  JAX's own notifier takes SIGTERM; the processes agree on a poll at which all of them stop. Each
  must poll equally often.
  """

  def __init__(self):
    self._polls = 0

  def poll(self) -> int | None:
    """The signal that asked for the end, in all processes at the same poll; None = go on."""
    if not several():
      return None
    from jax.experimental import multihost_utils

    self._polls += 1
    stop = multihost_utils.reached_preemption_sync_point(self._polls)
    return signal.SIGTERM if stop else None


STOP = Stop()


def fault(error: BaseException) -> tuple[str, int]:
  """(line, exit code) for what ended one of several processes.

  When one is lost, the runtime of the others fails in the middle of a collective, or aborts them.
  """
  import jax

  if isinstance(error, (SystemExit, UserError)):
    return ending(error)
  line = ' '.join(f'{type(error).__name__}: {error}'.split())
  if disk := disk_fault(error):
    return disk, 2
  if isinstance(error, jax.errors.JaxRuntimeError) and 'RESOURCE_EXHAUSTED' not in line:
    return f'another process is lost, or does not answer ({line})', STUCK
  return line, 1


def leave(line: str, code: int) -> NoReturn:
  """Ends this process at once: JAX would wait minutes at exit for peers that do not come."""
  print(f'whyjax: {line}', file=sys.stderr, flush=True)
  sys.stdout.flush()
  os._exit(code)
