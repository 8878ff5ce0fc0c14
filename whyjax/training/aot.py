"""Programs compiled for devices that are not here.

For a TPU the real compiler of libtpu compiles for a described slice (ahead of time, as in MaxText);
nothing runs. For GPUs JAX has no compiler without a GPU: programs are lowered for CUDA and no
further.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import importlib.util
import math
import os
import re
import time
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from whyjax.config import DeviceConfig
from whyjax.errors import UserError
from whyjax.training import hlo
from whyjax.training import mesh as meshes

# Memory of one chip in bytes: cloud.google.com/tpu/docs, the page of each version.
HBM = {'v4': 32 * 2**30, 'v5e': 16 * 2**30, 'v5p': 95 * 2**30, 'v6e': 32 * 2**30}
# Shapes that slices are sold in: the same pages. libtpu aborts, or describes what is not to be had.
_FLAT = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_MOST_CHIPS = {'v4': 4096, 'v5p': 8960}
_DOES_NOT_FIT = re.compile(r'RESOURCE_EXHAUSTED|[Rr]an out of memory|exceeds the .*memory')
_USED = re.compile(
  r'\b(?:Used|temporaries) \(?([\d.]+[KMGT])\)? (?:of|exceeds[^(]*\() ?([\d.]+[KMGT])'
)


@dataclasses.dataclass(frozen=True)
class Compiled:
  """What the compiler says of one program on one device of the target.

  Attributes:
    resident: bytes of arguments and results; those that share memory count once.
    temporary: bytes that it needs beside them while it runs.
    collectives: operations in which devices exchange data.
    seconds: that compiling took.
    fault: why it does not fit or could not be compiled; '' if it was.
  """

  resident: int = 0
  temporary: int = 0
  collectives: Sequence[hlo.Collective] = ()
  seconds: float = 0.0
  fault: str = ''


@dataclasses.dataclass(frozen=True)
class Target:
  """Devices that are described, not there.

  Attributes:
    name: as the user gave it.
    count: of devices.
    memory: bytes of one device; 0 = unknown.
    devices: of a described TPU slice; none for GPUs.
  """

  name: str
  platform: str
  count: int
  memory: int
  devices: Sequence[jax.Device] = ()

  def mesh(self, device: DeviceConfig, replicas: int, batch_rows: int) -> meshes.Mesh:
    """As `meshes.make_mesh`, on these devices."""
    if self.platform == 'tpu':
      return meshes.make_mesh(device, replicas, batch_rows, self.devices)
    shape = meshes.mesh_shape(device, replicas, batch_rows, self.count, 1)
    axes = (AxisType.Auto,) * len(shape)
    kind = AbstractDevice(device_kind='GPU', num_cores=None, platform='gpu')
    return AbstractMesh(shape, meshes.AXES, axis_types=axes, abstract_device=kind)

  def compile(self, function: Any, *arguments: Any) -> Compiled:
    """What the compiler says of a jitted function, for arguments of these shapes and shardings."""
    begun = time.perf_counter()
    if self.platform == 'gpu':
      jax.export.export(function, platforms=('cuda',))(*arguments)
      return Compiled(seconds=time.perf_counter() - begun)
    try:
      with _quiet():
        compiled = function.trace(*arguments).lower(lowering_platforms=('tpu',)).compile()
    except jax.errors.JaxRuntimeError as error:
      if not _DOES_NOT_FIT.search(str(error)):
        raise
      used = _USED.search(str(error))
      fault = f'needs {used[1]}B of {used[2]}B' if used else str(error).splitlines()[0]
      return Compiled(fault=fault, seconds=time.perf_counter() - begun)
    memory = compiled.memory_analysis()
    return Compiled(
      resident=memory.argument_size_in_bytes
      + memory.output_size_in_bytes
      - memory.alias_size_in_bytes,
      temporary=memory.temp_size_in_bytes,
      collectives=hlo.collectives(compiled.as_text()),
      seconds=time.perf_counter() - begun,
    )


def describe(name: str) -> Target:
  """The target 'tpu:VERSION:SHAPE', such as tpu:v5e:16x16, or 'gpu:COUNT'; call it before any other
  use of JAX.

  Raises:
    UserError: it is not of this form, or there is no compiler for it here.
  """
  kind, *rest = name.split(':')
  jax.config.update('jax_platforms', 'cpu')
  if kind == 'gpu' and len(rest) == 1 and rest[0].isdigit() and int(rest[0]) > 0:
    return Target(name, 'gpu', int(rest[0]), 0)
  if kind != 'tpu' or len(rest) != 2 or rest[0] not in HBM:
    raise UserError(
      f'--target = {name!r}: must be tpu:VERSION:SHAPE with a version of {", ".join(HBM)}, such as '
      'tpu:v5e:16x16, or gpu:COUNT'
    )
  version, shape = rest
  if not _is_sold(version, shape):
    cubes = 'three sides of 1, 2 or a multiple of 4, such as 4x4x8'
    allowed = cubes if version in _MOST_CHIPS else f'one of {", ".join(_FLAT)}'
    raise UserError(f'--target = {name!r}: a slice of {version} must be {allowed}')
  devices = _tpu_devices(name, f'{version}:{shape}')
  return Target(name, 'tpu', len(devices), HBM[version], devices)


def _is_sold(version: str, shape: str) -> bool:
  if version not in _MOST_CHIPS:
    return shape in _FLAT
  if not re.fullmatch(r'\d+x\d+x\d+', shape):
    return False
  sides = [int(side) for side in shape.split('x')]
  whole = all(side in (1, 2) or (side > 0 and side % 4 == 0) for side in sides)
  return whole and math.prod(sides) <= _MOST_CHIPS[version]


def _tpu_devices(name: str, topology: str) -> Sequence[jax.Device]:
  if importlib.util.find_spec('libtpu') is None:
    install = 'pip install "jax[tpu]", in an environment of its own'
    raise UserError(f'--target = {name!r}: no TPU compiler here: {install}')
  os.environ['TPU_SKIP_MDS_QUERY'] = '1'  # no TPU VM: nobody would answer
  os.environ['ALLOW_MULTIPLE_LIBTPU_LOAD'] = '1'  # no TPU, of which two processes would be too many
  sides = [int(side) for side in topology.partition(':')[2].split('x')]
  host = {}
  if math.prod(sides) < 4:  # libtpu takes a host for four chips
    host = {'chips_per_host_bounds': (*sides, 1, 1)[:3]}
  try:
    with _quiet():
      return topologies.get_topology_desc(platform='tpu', topology_name=topology, **host).devices
  except Exception as error:  # what it raises depends on what is missing
    raise UserError(f'--target = {name!r}: {str(error).strip().splitlines()[0]}') from error


@contextlib.contextmanager
def _quiet():
  """libtpu writes about the TPU that is not there to the file of stderr itself."""
  kept = os.dup(2)
  nowhere = os.open(os.devnull, os.O_WRONLY)
  os.dup2(nowhere, 2)
  try:
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
    os.close(nowhere)
