"""Checkpoints of a stage: Orbax writes and commits them, and seals show that they are still whole.

They lie in DIRECTORY/STEP/{params,opt_state,meta}/. Orbax commits a step by a rename, so that a
half-written one has no number for a name. But it does not notice later damage to array data, and
answers other damage with tracebacks: so each item carries SHA-256 sums of its files, written before
the commit and checked before reading.
"""

from collections.abc import Collection
import hashlib
import json
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from whyjax.errors import UserError

_SEAL = 'sha256.json'
_TREES = ('params', 'opt_state')


class Checkpoints:
  """The checkpoints in one directory; the context ends with the last save.

  Kept are the last two, and those after the updates `keep`.
  """

  def __init__(self, directory: Path, keep: Collection[int] = ()):
    self._directory = directory.absolute()
    self._manager = _manager(
      self._directory,
      preservation_policy=policies.AnyPreservationPolicy(
        [policies.LatestN(2), policies.CustomSteps(sorted(keep))]
      ),
      cleanup_tmp_directories=True,
    )

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *_) -> None:
    self._manager.close()

  def latest(self) -> int | None:
    """Number of updates that the newest checkpoint has seen, or None."""
    return self._manager.latest_step()

  def newest(self) -> Path:
    """Directory of the newest checkpoint."""
    return self._directory / str(self.latest())

  def save(self, step: int, params, opt_state, meta: dict) -> None:
    """Saves the state after `step` updates, in the background; `meta` is JSON."""
    if step == self.latest():
      return  # Orbax refuses to write a step twice
    trees = {'params': params, 'opt_state': opt_state}
    args = {item: ocp.args.StandardSave(tree) for item, tree in trees.items()}
    self._manager.save(step, args=ocp.args.Composite(**args, meta=ocp.args.JsonSave(meta)))

  def restore(self, params, opt_state) -> tuple:
    """(params, opt_state, meta) of the newest checkpoint.

    Args:
      params: tree of ShapeDtypeStructs with their shardings.
      opt_state: the same.

    Raises:
      UserError: the checkpoint is damaged, or does not fit the trees.
    """
    step, where = self.latest(), self.newest()
    trees = {'params': params, 'opt_state': opt_state}
    for item in (*trees, 'meta'):
      _check_seal(where, item)
    stored = self._manager.item_metadata(step)
    for item, tree in trees.items():
      check_tree(stored[item].tree, tree, f'checkpoint {where}: {item}')
    args = {item: ocp.args.StandardRestore(tree) for item, tree in trees.items()}
    args = ocp.args.Composite(**args, meta=ocp.args.JsonRestore())
    restored = self._manager.restore(step, args=args)
    return restored['params'], restored['opt_state'], restored['meta']


def restore_params(directory: Path, step: int | None = None) -> dict:
  """The params alone of a checkpoint in `directory`, the newest by default: host arrays [R, ...].

  Raises:
    UserError: there is no such checkpoint, or it is damaged.
  """
  directory = directory.absolute()
  if not directory.is_dir():
    raise UserError(f'checkpoints {directory}: no such directory')
  with _manager(directory, read_only=True) as manager:
    found = manager.all_steps()
    if not found or (step is not None and step not in found):
      which = 'checkpoint' if step is None else f'checkpoint {step}'
      raise UserError(f'checkpoints {directory}: no {which} there')
    step = max(found) if step is None else step
    _check_seal(directory / str(step), 'params')
    stored = manager.item_metadata(step)['params'].tree
    host = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), stored)
    args = ocp.args.Composite(params=ocp.args.StandardRestore(host))
    return manager.restore(step, args=args)['params']


def check_tree(given: dict, wanted: dict, where: str) -> None:
  """Raises a UserError that lists every leaf of `given` that is missing, unknown or mis-shaped."""
  given, wanted = _shapes(given), _shapes(wanted)
  faults = [f'{name} is missing' for name in wanted if name not in given]
  faults += [f'{name} is unknown' for name in given if name not in wanted]
  both = given.keys() & wanted.keys()
  faults += [
    f'{name} is {given[name]}, not {wanted[name]}' for name in both if given[name] != wanted[name]
  ]
  if faults:
    raise UserError(f'{where}: does not fit this model and optimizer: {"; ".join(sorted(faults))}')


def _shapes(tree) -> dict[str, str]:
  """Dotted path of each leaf -> its type and shape; a tree and its metadata on disk are alike."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='.'): f'{x.dtype}{list(x.shape)}'
    for path, x in jax.tree_util.tree_leaves_with_path(tree)
  }


class _Sealed:
  """Mixin for Orbax handlers: sums up the files of a complete item before it is committed."""

  def finalize(self, directory) -> None:
    super().finalize(directory)
    directory = Path(directory)
    sums = {str(f.relative_to(directory)): _sum(f) for f in directory.rglob('*') if f.is_file()}
    (directory / _SEAL).write_text(json.dumps(sums, indent=2, sort_keys=True))


class _SealedTree(_Sealed, ocp.StandardCheckpointHandler):
  pass


class _SealedJson(_Sealed, ocp.JsonCheckpointHandler):
  pass


class _Manager(ocp.CheckpointManager):
  def reached_preemption(self, step: int) -> bool:
    """The loop decides when to save. Orbax would ask the service that `processes.Stop` polls, by
    numbers of its own; the service stops at the number after the last, and those polls may be
    beyond it: SIGTERM at the moment of a checkpoint was lost."""
    return False


def _manager(directory: Path, **options) -> ocp.CheckpointManager:
  registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
  for item in _TREES:
    handler = _SealedTree()
    registry.add(item, ocp.args.StandardSave, handler)
    registry.add(item, ocp.args.StandardRestore, handler)
  handler = _SealedJson()
  registry.add('meta', ocp.args.JsonSave, handler)
  registry.add('meta', ocp.args.JsonRestore, handler)
  return _Manager(
    directory, handler_registry=registry, options=ocp.CheckpointManagerOptions(**options)
  )


def _sum(file: Path) -> str:
  with file.open('rb') as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()


def _check_seal(where: Path, item: str) -> None:
  """Raises a UserError unless every file of an item of a checkpoint is as it was written."""
  try:
    sums = json.loads((where / item / _SEAL).read_text())
    damaged = [
      f'{item}/{name}' for name, value in sorted(sums.items()) if _sum(where / item / name) != value
    ]
  except (OSError, ValueError, AttributeError) as error:
    damaged = [str(error)]
  if damaged:
    raise UserError(
      f'checkpoint {where}: damaged or half-written ({", ".join(damaged)}); delete this directory, '
      'and the run goes on from the checkpoint before it, or from the start'
    )
