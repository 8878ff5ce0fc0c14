"""Devices: starting the backend, the mesh, and which axis of an array lies on which axis of the mesh.

Every trained array has a leading replica axis R. The mesh has three axes: 'replica' (independent programs),
'data' (rows of a batch, and slices of the parameters) and 'model' (slices of a layer).
"""

from collections.abc import Callable
import math
import os

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from whyjax.config import DeviceConfig
from whyjax.errors import UserError

AXES = ('replica', 'data', 'model')

# Name of a matrix -> mesh axes of its last two dimensions. 'model' follows Megatron (columns first, then
# rows), so that a layer needs one reduction in attention and one in the MLP; 'data' slices the other
# dimension (FSDP). The embedding is split by width alone: where its vocabulary is split and all three mesh
# axes are larger than 1, XLA's partitioner aborts at the look-up.
LAYOUT = {
  'embedding': ((), ('model', 'data')),
  'qkv': (('data',), ('model',)),
  'out': (('model',), ('data',)),
  'gate_up': (('data',), ('model',)),
  'down': (('model',), ('data',)),
  'head': (('data',), ('model',)),
}


def start_backend(device: DeviceConfig) -> None:
  """Starts JAX as `device` says; call it before any other use of JAX.

  Raises:
    UserError: the platform is not there, or JAX runs already with another number of devices.
  """
  # JAX reads 'gpu' as every kind of GPU it knows of, and fails where one is missing.
  platform = 'cuda' if device.platform == 'gpu' else device.platform
  jax.config.update('jax_platforms', platform)
  if device.compile_cache:
    jax.config.update('jax_compilation_cache_dir', os.path.expanduser(device.compile_cache))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  try:
    if device.platform == 'cpu':
      jax.config.update('jax_num_cpu_devices', device.host_devices)
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # without CUDA the second, and it is empty
    reason = str(error).splitlines()[0] if str(error) else 'no such device'
    raise UserError(f'device.platform = {device.platform!r}: JAX cannot start it here ({reason})') from error


def make_mesh(device: DeviceConfig, replicas: int, batch_rows: int) -> Mesh:
  """The mesh for `replicas` programs that read micro-batches of `batch_rows` rows each.

  A size of 0 in `device` means: as large as divides the work and fits the devices; 'replica' goes before
  'data', because replicas need no communication.

  Raises:
    UserError: a size does not divide what it splits, or the mesh needs more devices than there are.
  """
  available = jax.device_count()
  model = device.mesh_model
  replica = device.mesh_replica or _largest_divisor(replicas, available // (model * max(device.mesh_data, 1)))
  data = device.mesh_data or _largest_divisor(batch_rows, available // (model * replica))
  if replicas % replica:
    raise UserError(f'device.mesh_replica = {replica}: must be a divisor of the {replicas} replicas')
  if batch_rows % data:
    raise UserError(f'device.mesh_data = {data}: must be a divisor of the {batch_rows} rows of a micro-batch')
  shape = (replica, data, model)
  if math.prod(shape) > available:
    raise UserError(
      f'device.mesh_replica x mesh_data x mesh_model = {replica} x {data} x {model}: '
      f'must be at most the {available} devices there are'
    )
  return jax.make_mesh(shape, AXES, (AxisType.Auto,) * 3, devices=jax.devices()[: math.prod(shape)])


def _largest_divisor(number: int, limit: int) -> int:
  """The largest divisor of `number` that is at most `limit`, and at least 1."""
  return max(d for d in range(1, max(limit, 1) + 1) if number % d == 0)


def param_sharding(mesh: Mesh, tree):
  """NamedShardings of params or optimizer state with leaves [R, ...], by the last name of each leaf's path.

  A dimension that its mesh axes do not divide stays whole.
  """

  def sharding(path, leaf):
    spec = [('replica',)] + [()] * (leaf.ndim - 1)
    layout = LAYOUT.get(getattr(path[-1], 'key', ''), ())
    for position, axes in zip((-2, -1), layout, strict=False):
      if leaf.shape[position] % math.prod(mesh.shape[axis] for axis in axes) == 0:
        spec[position] = axes
    return NamedSharding(mesh, P(*spec))

  return jax.tree_util.tree_map_with_path(sharding, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """For stacks of batches [R, updates, rows, T]: replicas and rows are split, updates are not."""
  return NamedSharding(mesh, P('replica', None, 'data'))


def map_replicas(fn: Callable, mesh: Mesh, loop: bool) -> Callable:
  """Maps `fn`, written for one replica, over the leading axis R of every leaf of its arguments.

  `shard_map` is manual over the mesh axis 'replica', so that the compiler cannot add communication between
  replicas. Those of one device run in turn (`loop`) or as one batch. The axes 'data' and 'model' stay with
  the compiler, which follows the shardings of the arguments.
  """

  def local(*trees):
    return jax.lax.map(lambda t: fn(*t), trees) if loop else jax.vmap(fn)(*trees)

  # check_vma watches communication over the manual axis, of which there is none.
  specs = dict(in_specs=P('replica'), out_specs=P('replica'))
  return jax.shard_map(local, mesh=mesh, axis_names={'replica'}, check_vma=False, **specs)
