"""The mesh changes where things are computed, and nothing of what is computed."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from whyjax.errors import UserError
from whyjax.model import transformer
from whyjax.training import mesh as meshes
from whyjax.training.step import make_program


@pytest.mark.parametrize(
  ('given', 'replicas', 'rows', 'expected'),
  [
    ((0, 0, 1), 4, 16, (4, 2, 1)),
    ((0, 0, 1), 16, 16, (8, 1, 1)),
    ((0, 0, 1), 3, 16, (3, 2, 1)),
    ((0, 0, 1), 1, 6, (1, 6, 1)),
    ((0, 0, 4), 4, 16, (2, 1, 4)),
    ((0, 4, 1), 4, 16, (2, 4, 1)),
    ((1, 1, 1), 4, 16, (1, 1, 1)),
    ((0, 0, 1), 7, 5, (7, 1, 1)),
  ],
)
def test_zero_means_as_large_as_fits_and_replicas_go_first(tiny, given, replicas, rows, expected):
  mesh = meshes.make_mesh(on_mesh(tiny, given), replicas, rows)
  assert tuple(mesh.shape[axis] for axis in meshes.AXES) == expected


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    ((3, 1, 1), r'device\.mesh_replica = 3: must be a divisor of the 4 replicas'),
    ((1, 3, 1), r'device\.mesh_data = 3: must be a divisor of the 16 rows'),
    ((4, 4, 1), r'4 x 4 x 1: must be at most the 8 devices'),
    ((0, 0, 16), r'1 x 1 x 16: must be at most the 8 devices'),
  ],
)
def test_a_mesh_that_does_not_fit_is_refused(tiny, given, message):
  with pytest.raises(UserError, match=message):
    meshes.make_mesh(on_mesh(tiny, given), 4, 16)


@pytest.mark.parametrize(
  ('given', 'replicas', 'rows', 'expected'),
  [
    ((0, 0, 1), 5, 256, (1, 256, 1)),  # 5 x 32 would leave 96 chips out
    ((0, 0, 1), 8, 64, (8, 32, 1)),
    ((0, 0, 1), 10, 16, (2, 16, 1)),  # all of it eight times
    ((0, 0, 4), 3, 16, (1, 16, 4)),
  ],
)
def test_a_tpu_slice_is_taken_whole(tiny, given, replicas, rows, expected):
  device = on_mesh(tiny, given)
  assert meshes.mesh_shape(device, replicas, rows, 256, 64, whole=True) == expected


def test_a_mesh_that_does_not_divide_a_tpu_slice_is_refused(tiny):
  with pytest.raises(UserError, match=r'5 x 1 x 1: must divide the 256 devices of the TPU slice'):
    meshes.mesh_shape(on_mesh(tiny, (5, 1, 1)), 5, 16, 256, 64, whole=True)


def test_the_backend_does_not_start_twice_with_other_devices(tiny):
  meshes.start_backend(tiny.device)
  with pytest.raises(UserError, match=r"device\.platform = 'cpu'"):
    meshes.start_backend(dataclasses.replace(tiny.device, host_devices=2))


def on_mesh(tiny, shape, **changes):
  sizes = dict(zip(('mesh_replica', 'mesh_data', 'mesh_model'), shape, strict=True))
  return dataclasses.replace(tiny.device, **sizes, **changes)


def run(tiny, params, shape, accumulation, **changes):
  """Losses and gradient norms [2, R, 2] of two steps on a mesh, and the params after them."""
  device = on_mesh(tiny, shape, steps_per_dispatch=2, **changes)
  stage = dataclasses.replace(tiny.stage, batch_rows=16, accumulation=accumulation)
  model = dataclasses.replace(tiny.model, kv_heads=2)
  mesh = meshes.make_mesh(device, 8, 16 // accumulation)
  program = make_program(model, tiny.vocabulary, stage, device, mesh, 8, tiny.length)
  params = jax.device_put(params, jax.tree.map(lambda x: x.sharding, program.state[0]))
  state = (params, program.init_optimizer(params))
  data = tiny.Rows(8, batch_rows=16)
  batches = [data.batch(step) for step in range(device.steps_per_dispatch)]
  stack = {
    k: jax.device_put(np.stack([b[k] for b in batches], axis=1), x.sharding)
    for k, x in program.batch.items()
  }
  n = jnp.int32(2)
  quick = program.dispatch.lower(state, stack, n).compile({'xla_backend_optimization_level': 0})
  (params, _), metrics = quick(state, stack, n)
  return np.stack([metrics['loss'], metrics['grad_norm']]), params


@pytest.fixture(scope='module')
def params(tiny):
  model = dataclasses.replace(tiny.model, kv_heads=2)
  init = jax.vmap(functools.partial(transformer.init, model, tiny.vocabulary))
  shapes = jax.eval_shape(lambda: init(jax.random.split(jax.random.key(0), 8)))
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: 0.2 * rng.standard_normal(x.shape, np.float32), shapes)


@pytest.fixture(scope='module')
def one_device(tiny, params):
  return run(tiny, params, (1, 1, 1), accumulation=1)[0]


SHAPES = [(r, d, 8 // r // d) for r in (8, 4, 2, 1) for d in (8, 4, 2, 1) if r * d <= 8]


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_every_mesh_of_eight_devices_equals_one(tiny, params, one_device, shape):
  loop = shape[0] < 4  # both ways to run the replicas of a device
  accumulation = 2 if shape[1] == 4 else 1
  metrics, after = run(tiny, params, shape, accumulation, replica_loop=loop)
  np.testing.assert_allclose(metrics, one_device, rtol=1e-4)
  qkv = after['layers']['attention']['qkv']
  assert qkv.sharding.shard_shape(qkv.shape) == (8 // shape[0], 2, 16 // shape[1], 48 // shape[2])


@pytest.mark.parametrize('shape', [(2, 4, 1), (1, 4, 2)], ids=str)
def test_whole_parameters_equal_split_ones(tiny, params, one_device, shape):
  metrics, after = run(tiny, params, shape, accumulation=2, fsdp=False)
  np.testing.assert_allclose(metrics, one_device, rtol=1e-4)
  qkv = after['layers']['attention']['qkv']
  assert qkv.sharding.shard_shape(qkv.shape) == (8 // shape[0], 2, 16, 48 // shape[2])


def test_devices_to_spare_repeat_what_others_do(tiny, params, one_device, monkeypatch):
  """As on a TPU slice that the work can't fill."""
  with_spare = jax.sharding.Mesh(
    np.array(jax.devices()).reshape(2, 2, 1, 2),
    (*meshes.AXES, meshes.SPARE),
    axis_types=(jax.sharding.AxisType.Auto,) * 4,
  )
  monkeypatch.setattr(meshes, 'make_mesh', lambda *_: with_spare)
  metrics, _ = run(tiny, params, (2, 2, 1), accumulation=1)
  np.testing.assert_allclose(metrics, one_device, rtol=2e-5)
