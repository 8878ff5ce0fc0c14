"""Devices: starting the backend, the mesh, and how arrays lie on it.

Every trained array has a leading replica axis R. The mesh has three axes: 'replica' (independent
programs), 'data' (rows of a batch; parameters and optimizer state are split over it at rest) and
'model' (parts of a layer).
"""

import collections
from collections.abc import Callable, Sequence
import math
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np

from whyjax.config import DeviceConfig
from whyjax.errors import UserError
from whyjax.training import compile_cache

AXES = ('replica', 'data', 'model')
SPARE = 'spare'  # a fourth axis: devices that repeat what others do

# Name of a matrix -> mesh axes that its last two dimensions are split over at rest. 'model' follows
# Megatron (columns first, then rows), so that a layer needs one reduction in attention and one in
# the MLP; 'data' splits the other dimension. The embedding is split by width alone: at a look-up by
# split vocabulary XLA's partitioner aborts when all three mesh axes are larger than 1.
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
    compile_cache.keep(device.compile_cache)
  try:
    if device.platform == 'cpu':
      jax.config.update('jax_num_cpu_devices', device.host_devices)
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # without CUDA the second, and it is empty
    reason = str(error).splitlines()[0] if str(error) else 'no such device'
    raise UserError(
      f'device.platform = {device.platform!r}: JAX cannot start it here ({reason})'
    ) from error


def make_mesh(
  device: DeviceConfig,
  replicas: int,
  batch_rows: int,
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """The mesh for `replicas` programs that read micro-batches of `batch_rows` rows each, on
  `devices` (default: all); of the shape that `mesh_shape` says."""
  devices = jax.devices() if devices is None else devices
  processes = len({d.process_index for d in devices})
  whole = devices[0].platform == 'tpu'
  shape = mesh_shape(device, replicas, batch_rows, len(devices), processes, whole)
  axes, used = AXES, math.prod(shape)
  if whole and used < len(devices):
    axes, shape = (*AXES, SPARE), (*shape, len(devices) // used)
    used = len(devices)
  if used == len(devices):
    # An axis of the mesh need not be one of the slice: without that few shapes would do.
    arranged = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
  else:
    arranged = np.array(_spread(devices, used)).reshape(shape)
  return Mesh(arranged, axes, axis_types=(AxisType.Auto,) * len(axes))


def mesh_shape(
  device: DeviceConfig,
  replicas: int,
  batch_rows: int,
  available: int,
  processes: int,
  whole: bool = False,
) -> tuple[int, int, int]:
  """The sizes of the mesh axes for so many devices, of so many processes.

  A size of 0 in `device` means: as large as divides the work and fits the devices; 'replica' goes
  before 'data', because replicas need no communication, and every process takes part before either.

  Args:
    whole: a program takes all devices or none, as on slices of a TPU pod, whose chips route each
      other's traffic: the mesh divides their number, is as large as it can be, and where it is
      smaller the axis SPARE says how often all of it is repeated.

  Raises:
    UserError: a size does not divide what it splits, the mesh needs more devices than there are or
      does not divide them, or it leaves a process without work.
  """
  model = device.mesh_model
  shapes = [
    (replica, data)
    for replica in _sizes(device.mesh_replica, replicas)
    for data in _sizes(device.mesh_data, batch_rows)
    if replica * data * model <= available and not (whole and available % (replica * data * model))
  ]

  def worth(shape: tuple[int, int]) -> tuple:
    used = math.prod(shape) * model
    return used if whole else used >= processes, *shape

  # Where nothing fits, what was asked for is refused below, by name.
  replica, data = max(
    shapes, key=worth, default=(max(device.mesh_replica, 1), max(device.mesh_data, 1))
  )
  if replicas % replica:
    raise UserError(
      f'config.device.mesh_replica = {replica}: must be a divisor of the {replicas} replicas'
    )
  if batch_rows % data:
    raise UserError(
      f'config.device.mesh_data = {data}: must be a divisor of the {batch_rows} rows of a '
      'micro-batch'
    )
  shape = (replica, data, model)
  asked = f'config.device.mesh_replica x mesh_data x mesh_model = {replica} x {data} x {model}'
  if math.prod(shape) > available:
    raise UserError(f'{asked}: must be at most the {available} devices there are')
  if whole and available % math.prod(shape):
    raise UserError(f'{asked}: must divide the {available} devices of the TPU slice')
  if not whole and math.prod(shape) < processes:
    raise UserError(
      f'{asked}: must be at least the {processes} processes; {replicas} replicas of {batch_rows} '
      'rows need fewer'
    )
  return shape


def _sizes(given: int, number: int) -> list[int]:
  """The sizes that a mesh axis may have: the given one, or for 0 what divides `number`."""
  return [given] if given else [d for d in range(1, number + 1) if number % d == 0]


def _spread(devices: Sequence[jax.Device], count: int) -> list[jax.Device]:
  """So many of these devices, of all processes equally many if they can be, neighbours side by
  side."""
  turns = collections.Counter()
  ranked = []
  for device in devices:
    ranked.append((turns[device.process_index], device))
    turns[device.process_index] += 1
  chosen = {device.id for _, device in sorted(ranked, key=lambda r: r[0])[:count]}
  return [device for device in devices if device.id in chosen]


def _layout(mesh, path, shape: tuple[int, ...]) -> list[tuple[str, ...]]:
  """Mesh axes of each dimension of a leaf; a dimension that they do not divide stays whole."""
  layout = [()] * len(shape)
  for position, axes in zip((-2, -1), LAYOUT.get(getattr(path[-1], 'key', ''), ()), strict=False):
    if shape[position] % math.prod(mesh.shape[axis] for axis in axes) == 0:
      layout[position] = axes
  return layout


def param_sharding(mesh: Mesh, tree: Any, fsdp: bool = True) -> Any:
  """NamedShardings of params or optimizer state at rest, leaves [R, ...]: split over all axes, or
  without `fsdp` whole over 'data'."""
  axes = [axis for axis in AXES if fsdp or axis != 'data']

  def sharding(path, x):
    layout = [[a for a in split if a in axes] for split in _layout(mesh, path, x.shape)[1:]]
    return NamedSharding(mesh, P('replica', *map(tuple, layout)))

  return jax.tree_util.tree_map_with_path(sharding, tree)


def gathered(params: dict) -> dict:
  """Params of one replica as a step computes with them, inside `map_replicas`: whole over 'data'.

  To say so is to gather the slices before use (FSDP). Left to itself the compiler moves activations
  instead, with several times as many collectives. The embedding, for look-ups, is gathered whole.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return params

  def gather(path, x):
    kept = () if path[-1].key == 'embedding' else ('model',)
    layout = [[axis for axis in axes if axis in kept] for axes in _layout(mesh, path, x.shape)]
    return jax.lax.with_sharding_constraint(x, P(*map(tuple, layout)))

  return jax.tree_util.tree_map_with_path(gather, params)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """For stacks of batches [R, updates, rows, T]: replicas and rows are split, updates are not."""
  return NamedSharding(mesh, P('replica', None, 'data'))


def map_replicas(fn: Callable, mesh: Mesh, loop: bool) -> Callable:
  """Maps `fn`, written for one replica, over the leading axis R of every leaf of its arguments.

  `shard_map` is manual over the mesh axis 'replica', so that the compiler cannot add communication
  between replicas. Those of one device run in turn (`loop`) or as one batch. The axes 'data' and
  'model' stay with the compiler, which follows the shardings of the arguments.
  """

  def local(*trees):
    return jax.lax.map(lambda t: fn(*t), trees) if loop else jax.vmap(fn)(*trees)

  # check_vma watches communication over the manual axis, of which there is none.
  specs = dict(in_specs=P('replica'), out_specs=P('replica'))
  return jax.shard_map(local, mesh=mesh, axis_names={'replica'}, check_vma=False, **specs)


def map_rows(fn: Callable, mesh: Mesh, loop: bool) -> Callable:
  """Maps fn(params, rows, ...) as `map_replicas` does, on params gathered once, before all else.

  Rows, leaves [R, N, ...], are spread over 'data' where that divides N.
  """

  def split(x):
    whole = x.shape[0] % mesh.shape['data']
    return x if whole else jax.lax.with_sharding_constraint(x, P('data'))

  def one(params, rows, *rest):
    return fn(gathered(params), jax.tree.map(split, rows), *rest)

  return map_replicas(one, mesh, loop)
