"""A checkpoint is whole or refused, in one line that says what to do."""

import dataclasses
import shutil

import jax
from jax.experimental import multihost_utils
import numpy as np
import pytest

from whyjax.corpus.packing import WHOLE
from whyjax.errors import UserError
from whyjax.training import mesh as meshes
from whyjax.training.checkpoint import Checkpoints, restore_params
from whyjax.training.step import make_program


@pytest.fixture
def copy(finished, tmp_path):
  """A finished stage to damage: its checkpoints are of the updates 18 and 20."""
  shutil.copytree(finished.directory, tmp_path, dirs_exist_ok=True)
  return tmp_path


def data_file(step):
  """The file that holds most of the params."""
  return max((step / 'params').rglob('*'), key=lambda f: f.stat().st_size if f.is_file() else 0)


def cut(step):
  file = data_file(step)
  file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(step):
  data = bytearray(data_file(step).read_bytes())
  data[len(data) // 2] ^= 1
  data_file(step).write_bytes(data)


def empty(step):
  shutil.rmtree(step)
  step.mkdir()


DAMAGE = {
  'cut': cut,
  'flipped bit': flip_a_bit,
  'file lost': lambda step: data_file(step).unlink(),
  'manifest lost': lambda step: (step / 'params' / 'manifest.ocdbt').unlink(),
  'seal lost': lambda step: (step / 'params' / 'sha256.json').unlink(),
  'seal cut': lambda step: (step / 'params' / 'sha256.json').write_text('[1'),
  'item lost': lambda step: shutil.rmtree(step / 'params'),
  'empty': empty,
}


def test_nobody_but_the_loop_asks_whether_to_stop(tiny, tmp_path, monkeypatch):
  """JAX knows the last question alone: another one that comes between makes it forget ours."""
  asked = []
  monkeypatch.setattr(multihost_utils, 'reached_preemption_sync_point', asked.append)
  tiny.train(tmp_path)
  assert asked == []


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_in_one_line(tiny, copy, capfd, damage):
  damage(copy / 'checkpoints' / '20')
  for read in (lambda: tiny.train(copy), lambda: restore_params(copy / 'checkpoints')):
    with pytest.raises(UserError) as error:
      read()
    message = str(error.value)
    assert (
      f'checkpoint {copy}/checkpoints/20: damaged' in message and 'delete this directory' in message
    )
    assert '\n' not in message
  assert 'Traceback' not in capfd.readouterr().err


def test_the_checkpoint_before_a_damaged_one_serves(tiny, finished, copy):
  shutil.rmtree(copy / 'checkpoints' / '20')  # what the message says
  assert tiny.equal(tiny.train(copy).params, finished.result.params)


@pytest.mark.parametrize('item', ['opt_state', 'meta'])
def test_damage_to_what_resuming_alone_needs_does_not_stop_a_hand_off(tiny, finished, copy, item):
  shutil.rmtree(copy / 'checkpoints' / '20' / item)
  with pytest.raises(UserError, match=f'damaged.*{item}'):
    tiny.train(copy)
  params = restore_params(copy / 'checkpoints')
  assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(params))
  assert tiny.equal(params, finished.result.params)


def test_a_half_written_checkpoint_is_not_one_and_not_in_the_way(tiny, finished, copy):
  checkpoints = copy / 'checkpoints'
  (checkpoints / '20').rename(
    checkpoints / '20.orbax-checkpoint-tmp'
  )  # as a kill during the save leaves it
  seen = []
  tiny.train(copy, log=seen.append)
  assert seen == ['align/reason: resumes at update 18 of 20']
  assert tiny.equal(restore_params(checkpoints), finished.result.params)


def test_there_must_be_a_checkpoint(tmp_path):
  with pytest.raises(UserError, match='no checkpoint there'):
    restore_params(tmp_path)
  with pytest.raises(UserError, match='no such directory'):
    restore_params(tmp_path / 'nowhere')


def tree(**changes):
  return {'a': {'b': np.zeros((2, 3), np.float32), 'c': np.ones(4, np.int32)}} | changes


def test_leaves_that_do_not_fit_are_listed(tmp_path):
  sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])

  def abstract(values):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), values)

  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, tree(), (tree(),), {})
    checkpoints.save(3, tree(), (tree(),), {})  # as when a stage ends where it was saved last
  with Checkpoints(tmp_path) as checkpoints:
    wanted = tree(d=np.zeros(1), a={'b': np.zeros((2, 5), np.float32)})
    with pytest.raises(UserError) as error:
      checkpoints.restore(abstract(wanted), abstract((tree(),)))
    assert str(error.value) == (
      f'checkpoint {tmp_path}/3: params: does not fit this model and optimizer: '
      'a.b is float32[2, 3], not float32[2, 5]; a.c is unknown; d is missing'
    )
    with pytest.raises(
      UserError, match=r'3: opt_state: .*: 1\.a\.b is missing; 1\.a\.c is missing'
    ):
      checkpoints.restore(abstract(tree()), abstract((tree(), tree())))
    params, (opt_state,), meta = checkpoints.restore(abstract(tree()), abstract((tree(),)))
    assert meta == {}
    np.testing.assert_array_equal(params['a']['c'], opt_state['a']['c'])


@pytest.mark.parametrize(('keep', 'kept'), [((), ['3', '4']), ((1,), ['1', '3', '4'])])
def test_the_last_two_are_kept_and_those_that_are_asked_for(tmp_path, keep, kept):
  with Checkpoints(tmp_path, keep=keep) as checkpoints:
    for step in (1, 2, 3, 4):
      checkpoints.save(step, tree(), tree(), {'step': step})
  assert sorted(p.name for p in tmp_path.iterdir()) == kept


@pytest.mark.parametrize('shape', [(1, 1, 1), (4, 2, 1), (2, 4, 1), (1, 4, 2)], ids=str)
def test_what_one_mesh_wrote_goes_on_on_another(tiny, finished, copy, shape):
  """Written on 2 x 1 x 1: the same state to the bit, then the same batches, and the same end but
  for rounding."""
  sizes = dict(zip(('mesh_replica', 'mesh_data', 'mesh_model'), shape, strict=True))
  device = dataclasses.replace(tiny.device, **sizes)
  mesh = meshes.make_mesh(device, 4, tiny.stage.batch_rows)
  program = make_program(tiny.model, tiny.vocabulary, tiny.stage, device, mesh, 4, tiny.length)
  with Checkpoints(copy / 'checkpoints') as checkpoints:
    *state, saved = checkpoints.restore(*program.state)
  assert saved['step'] == tiny.stage.updates
  assert tiny.equal(state[0], finished.result.params)
  for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(program.state), strict=True):
    assert leaf.sharding.is_equivalent_to(wanted.sharding, leaf.ndim)

  shutil.rmtree(copy / 'checkpoints' / str(tiny.stage.updates))  # back to update 18
  read = {}

  class Watched(tiny.Rows):
    def batch(self, step, part=WHOLE):
      batch = super().batch(step, part)
      whole = np.full((4, self.batch_rows, tiny.length), -1)
      read.setdefault(step, whole)[part] = batch['tokens']
      return batch

  result = tiny.train(copy, device=device, data=Watched())
  for step in (18, 19):
    np.testing.assert_array_equal(read[step], tiny.Rows().batch(step)['tokens'])
  for new, old in zip(
    jax.tree.leaves(result.params), jax.tree.leaves(finished.result.params), strict=True
  ):
    np.testing.assert_allclose(new, old, rtol=1e-3, atol=1e-5)
