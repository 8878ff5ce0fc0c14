"""The programs of the presets, compiled by the TPU compiler for slices that are not here.

Needs libtpu: `pip install "jax[tpu]"`, in an environment of its own. The compiler is told to
optimise little, which takes a fifth of the time and changes neither what is exchanged nor which
kernels are called; figures are by `--action=plan --target`, which asks for all that it can do.
"""

import functools
import io
from pathlib import Path

import jax
import pytest
from rich.console import Console

from whyjax import command_line
from whyjax.study import target as targets
from whyjax.training import aot

pytest.importorskip(
  'libtpu', reason='no TPU compiler: pip install "jax[tpu]" in its own environment'
)

jax.config.update('jax_optimization_level', 'O0')
ROOT = Path(__file__).parents[2]
CONFIGS = sorted(path.stem for path in (ROOT / 'configs').glob('*.py'))
SMALL = 'tpu:v5e:4x4'
OTHERS = ['tpu:v5e:16x16', 'tpu:v5p:2x2x4', 'tpu:v6e:4x4']
describe = functools.cache(aot.describe)


def study(config, *changes):
  arguments = [f'--config={ROOT}/configs/{config}.py:tpu']
  return command_line.parse(['whyjax', *arguments, *changes]).study


@functools.cache
def _compiled(shapes, target):
  """Programs of equal shape, mesh and method are compiled once."""
  return describe(target).compile(*_ASKED[shapes])


_ASKED = {}


def compiled(job, target):
  shapes = str((job.arguments, job.mesh.shape, 'rl' in job.name, job.name.split(',')[0][:8]))
  _ASKED[shapes] = (job.function, *job.arguments)
  return _compiled(shapes, target)


def trains(job):
  return ',' not in job.name


@pytest.mark.parametrize('config', CONFIGS)
def test_every_preset_trains_on_a_slice_of_four_hosts(config):
  found = [job for job in targets.jobs(study(config), describe(SMALL)) if trains(job)]
  assert found
  if config == 'scaling':
    found = [
      found[0],
      found[-1],
    ]  # sizes between the smallest and the largest differ in nothing else
  for job in found:
    result = compiled(job, SMALL)
    assert not result.fault, job.name
    assert 0 < result.resident + result.temporary < describe(SMALL).memory


@pytest.mark.parametrize('target', OTHERS)
def test_training_reinforcement_and_decoding_compile_for_other_slices(target):
  found = list(targets.jobs(study('reinforcement'), describe(target)))
  chosen = [j for j in found if trains(j) and 'harmless' not in j.name]
  chosen += [next(j for j in found if j.name.startswith('decoding'))]
  assert {'pretrain', 'align/generic', 'later/generic/rl-task'} <= {j.name for j in chosen}
  for job in chosen:
    result = compiled(job, target)
    assert not result.fault, job.name
    assert 0 < result.resident + result.temporary < describe(target).memory
    assert job.mesh.size == describe(target).count  # a slice is taken whole


def test_replicas_exchange_nothing_whatever_they_do():
  """They pretrain, earn rewards, and write."""
  changes = ['--config.seeds.worlds=16', '--config.seeds.per_world=1']
  found = list(targets.jobs(study('reinforcement', *changes), describe(SMALL)))
  names = ('pretrain', 'later/generic/rl-task', 'decoding, pretrain')
  chosen = [job for job in found if job.name in names]
  assert len(chosen) == len(names)
  for job in chosen:
    assert job.mesh.shape['replica'] == 16
    assert compiled(job, SMALL).collectives == [], job.name


def test_packed_rows_of_whole_blocks_attend_by_the_kernel():
  """Forward, and backward for queries and for keys and values."""
  jobs = targets.jobs(study('principles'), describe(SMALL))
  job = next(j for j in jobs if trains(j))
  lowered = job.function.trace(*job.arguments).lower(lowering_platforms=('tpu',))
  assert lowered.as_text().count('tpu_custom_call') == 3
  assert not compiled(job, SMALL).fault


@pytest.mark.parametrize(('shape', 'count'), [('1x1', 1), ('2x2', 4), ('2x4', 8)])
def test_slices_of_a_host_and_less_are_described(shape, count):
  assert describe(f'tpu:v5e:{shape}').count == count


def test_what_does_not_fit_is_said():
  model = dict(width=8192, layers=24, heads=64, kv_heads=64, head_dim=128, mlp_width=22016)
  changes = [f'--config.model.{name}={value}' for name, value in model.items()]
  changes += [
    '--config.arms=()',
    '--config.claims=()',
    '--config.later_arms=()',
    '--config.later=()',
  ]
  console = Console(file=io.StringIO(), width=200)
  targets.show(study('smoke', *changes), 'tpu:v5e:2x2', console)
  assert 'does not fit: needs' in console.file.getvalue()
