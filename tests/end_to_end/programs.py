"""The program as its users start it, as processes of this machine, and all that it must find again
bit for bit."""

from collections.abc import Iterator, Mapping, Sequence
import hashlib
import json
import os
from pathlib import Path
import re
import socket
import subprocess
import sys
from typing import Any

import jax

from whyjax.training.checkpoint import restore_params

ROOT = Path(__file__).parents[2]
TINY = ROOT / 'tests/tiny.py'


def command(workdir: Path, *arguments: str) -> list[str]:
  """The command of the tiny study."""
  start = [sys.executable, '-m', 'whyjax.main', f'--config={TINY}', f'--workdir={workdir}']
  return [*start, *arguments]


def environments(count: int) -> list[dict[str, str]]:
  """What each of `count` processes that work together must be told; one alone is told nothing."""
  others = ('SLURM_', 'OMPI_')
  env = {k: v for k, v in os.environ.items() if not k.startswith(others)}
  env['TF_CPP_MIN_LOG_LEVEL'] = '2'
  if count == 1:
    return [env]
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  env |= {'JAX_COORDINATOR_ADDRESS': address, 'JAX_NUM_PROCESSES': str(count)}
  return [env | {'JAX_PROCESS_ID': str(index)} for index in range(count)]


def start(words: Sequence[str], count: int = 1, **streams: Any) -> list[subprocess.Popen]:
  """`count` processes that run a command together; `streams` are of Popen (default: pipes)."""
  streams = streams or {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
  return [
    subprocess.Popen(words, cwd=ROOT, env=env, text=True, **streams) for env in environments(count)
  ]


def end(started: Sequence[subprocess.Popen], seconds: float = 600) -> tuple[list[int], list[str]]:
  """Exit codes, and what each process said on stderr."""
  said = [process.communicate(timeout=seconds)[1] for process in started]
  return [process.returncode for process in started], said


def found(workdir: Path) -> list[dict]:
  """Records of a finished study, without what may differ between equal runs."""
  return [_equal(record) for record in _lines(workdir / 'results.jsonl')]


def outcome(workdir: Path) -> dict[str, Any]:
  """All that must be equal to the bit, whatever befell a study on its way: the records of results
  and evaluations, every line of metrics, and of each stage the parameters that it ends with."""
  parts: dict[str, Any] = {'results.jsonl': found(workdir)}
  for stage in stages(workdir):
    for path in (*stage.glob('evals*.jsonl'), stage / 'metrics.jsonl', stage / 'done.json'):
      parts[f'{stage.name}/{path.name}'] = [_equal(record) for record in _lines(path)]
    (result,) = _lines(stage / 'result.json')
    rows = [_equal(row) for row in result.pop('rows')]
    parts[f'{stage.name}/result.json'] = [result, rows]
    parts[f'{stage.name}/params'] = _fingerprint(restore_params(stage / 'checkpoints'))
  return parts


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
  """The names of the parts of two outcomes that are not equal."""
  return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def stages(workdir: Path) -> list[Path]:
  """Directories of all stages that were begun."""
  return sorted((workdir / 'stages').glob('*'))


def begun(workdir: Path, stage: str) -> bool:
  """Whether a stage, such as 'align-reason', has a whole checkpoint."""
  return any(map(latest, workdir.glob(f'stages/{stage}-*')))


def latest(stage: Path) -> int:
  """Updates that the newest whole checkpoint of a stage has seen; 0 if there is none."""
  names = (path.name for path in (stage / 'checkpoints').glob('*'))
  return max((int(name) for name in names if name.isdigit()), default=0)


def reported(stage: Path) -> int:
  """Updates that metrics.jsonl of a stage speaks of."""
  path = stage / 'metrics.jsonl'
  lines = path.read_text().splitlines(keepends=True) if path.exists() else []
  whole = [json.loads(line) for line in lines if line.endswith('\n')]
  return max((line['step'] for line in whole), default=0)


def drafts(workdir: Path) -> list[Path]:
  """What is being written, or was when its writer died, and nobody took away."""
  marks = re.compile(r'orbax-checkpoint-tmp|^incomplete\.|\.tmp$|\.part$')
  walk = os.walk(workdir)  # unlike rglob it does not mind what vanishes meanwhile
  found = (Path(top) / name for top, folders, files in walk for name in (*folders, *files))
  return sorted(path for path in found if marks.search(path.name))


def _lines(path: Path) -> Iterator[dict]:
  return map(json.loads, path.read_text().splitlines())


def _equal(record: dict) -> dict:
  """A record without times, machines and devices."""
  kept = {name: value for name, value in record.items() if name not in ('run', 'seconds')}
  if 'config' in kept:
    kept['config'] = {k: v for k, v in kept['config'].items() if k != 'device'}
  return kept


def _fingerprint(params: dict) -> str:
  """Sha256 of names, shapes and bits of all leaves."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    digest.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape} '.encode())
    digest.update(leaf.tobytes())
  return digest.hexdigest()
