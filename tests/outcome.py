"""How far a study is and what it has found, for tests that run one in several ways and want the
same to the bit."""

import json
from pathlib import Path

import jax
import numpy as np

from whyjax.training.checkpoint import restore_params


def records(workdir: Path, *, device: bool = True) -> list[dict]:
  """Records of a finished study without times and machines; without `device`, also without what
  the config says of how the program runs."""
  found = [json.loads(line) for line in (workdir / 'results.jsonl').read_text().splitlines()]
  for record in found:
    record.pop('run', None)
    if not device:
      record.get('config', {}).pop('device', None)
  return found


def begun(workdir: Path, stage: str) -> bool:
  """Whether a stage, such as 'align-reason', has a whole checkpoint."""
  return any(path.name.isdigit() for path in workdir.glob(f'stages/{stage}-*/checkpoints/*'))


def parameters(workdir: Path) -> dict[str, list[tuple[str, str, bytes]]]:
  """The last parameters of each stage: for every array its place, its type and its bytes."""
  found = {}
  for checkpoints in sorted(workdir.glob('stages/*/checkpoints')):
    leaves = jax.tree_util.tree_leaves_with_path(restore_params(checkpoints))
    found[checkpoints.parent.name] = [
      (jax.tree_util.keystr(path), str(leaf.dtype), np.asarray(leaf).tobytes())
      for path, leaf in leaves
    ]
  return found
