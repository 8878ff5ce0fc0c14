"""Plans for devices that are not here, where no TPU compiler is needed."""

import io
import re

import jax
import pytest
from rich.console import Console

from whyjax import command_line
from whyjax.errors import UserError
from whyjax.model import attention
from whyjax.study import target as targets
from whyjax.training import aot
from whyjax.training import mesh as meshes


def study(variant):
  return command_line.parse(['whyjax', f'--config=configs/reinforcement.py:{variant}']).study


@pytest.mark.parametrize(
  'name', ['tpu', 'tpu:v9:2x2', 'tpu:v5e:2x2:1', 'gpu:0', 'gpu', 'gpu:-1', '']
)
def test_an_unknown_target_is_refused_in_one_line(name):
  with pytest.raises(UserError, match='must be tpu:VERSION:SHAPE with a version of v4, v5e'):
    aot.describe(name)


@pytest.mark.parametrize(
  ('version', 'shape', 'allowed'),
  [
    ('v5e', 'four', 'one of 1x1, 2x2, 2x4, 4x4, 4x8, 8x8, 8x16, 16x16'),
    ('v5e', '100x100', 'one of 1x1'),
    ('v6e', '4x4x4', 'one of 1x1'),
    ('v5p', '4x4', 'three sides of 1, 2 or a multiple of 4'),
    ('v5p', '3x3x3', 'three sides'),
    ('v5p', '0x4x4', 'three sides'),
    ('v4', '16x16x20', 'three sides'),
  ],
)
def test_a_slice_that_nobody_sells_is_refused_in_one_line(version, shape, allowed):
  with pytest.raises(UserError, match=f'tpu:{version}:{shape}.*{version} must be {allowed}'):
    aot.describe(f'tpu:{version}:{shape}')


def test_a_study_for_another_platform_is_refused():
  with pytest.raises(
    UserError, match=r"device\.platform = 'cpu': must be 'gpu' for --target=gpu:8"
  ):
    targets.show(study('cpu'), 'gpu:8', Console(file=io.StringIO()))


def test_programs_are_lowered_for_gpus():
  console = Console(file=io.StringIO(), width=200)
  targets.show(study('gpu'), 'gpu:8', console)
  text = console.file.getvalue()
  for program in ('pretrain', 'align/generic', 'decoding, align/generic', 'later/generic/rl-task'):
    assert program in text
  assert 'lowered for CUDA, not compiled' in text


def test_devices_that_repeat_the_work_of_others_do_not_share_it():
  """A slice that the work cannot fill is taken whole, and each of its devices does all of that."""

  class Slice:
    def __init__(self, devices, spare):
      axes, shape = (*meshes.AXES, meshes.SPARE), (1, devices, 1, spare)
      kinds = (jax.sharding.AxisType.Auto,) * len(axes)
      self._mesh = jax.make_mesh(shape, axes, kinds, devices=jax.devices()[: devices * spare])

    def mesh(self, *_):
      return self._mesh

  def flops(*shape):
    return [job.flops for job in targets.jobs(study('cpu'), Slice(*shape))]

  alone = flops(1, 1)
  assert alone and min(alone) > 0
  assert flops(1, 8) == alone
  assert flops(2, 4) == [f / 2 for f in alone]


def test_programs_for_gpus_use_their_attention():
  """Not the one that is written for a CPU, on which they are lowered."""
  seen = []

  def one(x):
    seen.append(attention._platform())
    return x

  mesh = aot.describe('gpu:8').mesh(study('gpu').device, 1, 8)
  jax.jit(meshes.map_replicas(one, mesh, loop=False)).trace(jax.ShapeDtypeStruct((1, 8), float))
  assert set(seen) == {'gpu'}


@pytest.mark.parametrize('devices', [1, 8])
def test_training_on_gpus_from_ampere_on_attends_by_cudnn(monkeypatch, devices):
  """Forward and backward, for all replicas at once, on one device and on a mesh."""
  from jax._src.cudnn import fused_attention_stablehlo  # asks for a library that is not here

  monkeypatch.setattr(fused_attention_stablehlo, 'check_cudnn_version', lambda: 91_000)
  monkeypatch.setattr(attention, '_platform', lambda: 'gpu')
  monkeypatch.setattr(attention, '_ampere', lambda: True)
  here = aot.Target('gpu', 'tpu', devices, 0, jax.devices()[:devices])
  job = next(targets.jobs(study('gpu'), here))
  lowered = job.function.trace(*job.arguments).lower(lowering_platforms=('cuda',))
  kernels = set(re.findall(r'__cudnn\$\w+', lowered.as_text()))
  assert kernels == {'__cudnn$fmhaScaleBiasSoftmax', '__cudnn$fmhaScaleBiasSoftmaxBackward'}
