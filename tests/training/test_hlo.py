"""What is read of the communication in a compiled program."""

import dataclasses

import jax
import pytest

from whyjax.training import hlo
from whyjax.training import mesh as meshes
from whyjax.training.step import make_program

GATHER = (
  '  %all-gather.38 = bf16[5,384,896]{2,1,0:T(8,128)(2,1)} all-gather(%param_0.1613), '
  "channel_id=12, replica_groups=mesh['axis_0'=2,'axis_1'=16,'axis_2'=4] {'axis_1','axis_2'}, "
  'metadata={op_name="jit(dispatch)/vmap()/while/body/jvp()/while/body/sharding_constraint"}'
)


@pytest.mark.parametrize(
  ('line', 'expected'),
  [
    (GATHER, ('all-gather', 5 * 384 * 896 * 2, 64, 2)),
    (
      '%r = (f32[8]{0}, f32[]) all-reduce(%a, %b), replica_groups=[4,2]<=[8], to_apply=%add',
      ('all-reduce', 36, 2, 0),
    ),
    (
      '%r = f32[4,2]{1,0} reduce-scatter(%a), replica_groups={{0,1,2},{3,4,5}}, dimensions={0}',
      ('reduce-scatter', 32, 3, 0),
    ),
    (
      '%s = (f32[4], f32[8]) all-gather-start(%a), replica_groups=[1,2]<=[2], dimensions={0}',
      ('all-gather', 32, 2, 0),
    ),
    (
      '%p = (u8[6], u8[6], u32[], u32[]) collective-permute-start(%a), source_target_pairs={{0,1}}',
      ('collective-permute', 6, 2, 0),
    ),
    ('%q = pred[3]{0} all-to-all(%a), dimensions={0}', ('all-to-all', 3, 0, 0)),
  ],
)
def test_size_group_and_place_are_read_from_every_form(line, expected):
  (found,) = hlo.collectives(line)
  assert dataclasses.astuple(found) == expected


def test_copies_of_one_exchange_and_the_ends_of_begun_ones_do_not_count():
  done = '%d = f32[8] all-gather-done(%s), metadata={op_name="x"}'
  assert len(hlo.collectives('\n'.join([GATHER, GATHER, done, '%c = f32[8] copy(%d)']))) == 1


def exchanged(tiny, *shape, **changes):
  """The collectives of a program on a mesh, and the program."""
  sizes = dict(zip(('mesh_replica', 'mesh_data', 'mesh_model'), shape, strict=True))
  device = dataclasses.replace(tiny.device, **sizes, **changes)
  stage = dataclasses.replace(tiny.stage, batch_rows=16)
  mesh = meshes.make_mesh(device, 8, 16)
  program = make_program(tiny.model, tiny.vocabulary, stage, device, mesh, 8, tiny.length)
  quick = program.dispatch.lower(*program.arguments).compile({'xla_backend_optimization_level': 0})
  return hlo.collectives(quick.as_text()), program


def test_replicas_exchange_nothing(tiny):
  assert exchanged(tiny, 8, 1, 1)[0] == []


@pytest.mark.parametrize('replicas, data', [(1, 8), (2, 4)])
def test_split_parameters_are_gathered_and_gradients_summed_among_their_own(tiny, replicas, data):
  """FSDP: matrices are gathered before use and gradients summed after, and the replica axis has no
  part in it. No activation moves, but for the gradient of the embedding's look-up, which XLA makes
  of the tokens of all devices."""
  found, program = exchanged(tiny, replicas, data, 1)
  assert {c.group for c in found} == {data}
  assert {c.kind for c in found} <= {'all-gather', 'all-reduce', 'reduce-scatter'}
  gathered = sum(c.bytes for c in found if c.kind == 'all-gather')
  # Replicas of a device run in turn, so that what one of them gathers stands in the program.
  whole = sum(x.size // 8 * x.dtype.itemsize for x in jax.tree.leaves(program.state[0]))
  assert whole / 2 < gathered < 2 * whole


def test_without_fsdp_parameters_are_whole_and_not_gathered(tiny):
  split, _ = exchanged(tiny, 2, 4, 1)
  found, program = exchanged(tiny, 2, 4, 1, fsdp=False)
  assert {c.group for c in found} == {4}
  # What is left is for the look-up of the embedding, whose gradient is of single tokens.
  less = sum(c.bytes for c in split if c.kind == 'all-gather')
  less -= sum(c.bytes for c in found if c.kind == 'all-gather')
  assert less > sum(x.size // 8 * x.dtype.itemsize for x in jax.tree.leaves(program.state[0])) / 2
  for x in jax.tree.leaves(program.state):
    assert x.sharding.shard_shape(x.shape) == (x.shape[0] // 2, *x.shape[1:])
