"""Where a stage comes from: what goes into stage.json and into every checkpoint's meta."""

import dataclasses
import datetime
import functools
import importlib.metadata
import os
from pathlib import Path
import platform
import socket
import subprocess

import whyjax
from whyjax.study.graph import Stage

PACKAGES = 'jax jaxlib flax optax orbax-checkpoint numpy tensorflow-datasets grain'.split()


def meta(stage: Stage, corpora: list[str]) -> dict:
  """All that is needed to make the stage again; what may differ between equal runs lies in 'run'.

  Args:
    stage: the stage.
    corpora: content hash of each replica's corpus.
  """
  return {
    **stage.fields(),
    'id': stage.id,
    'parent': stage.parent.id if stage.parent else '',
    'replicas': [list(r) for r in stage.replicas],
    'corpora': corpora,
    'config': dataclasses.asdict(stage.study),
    'run': environment() | {'device': devices()},
  }


def environment() -> dict:
  """Time, host, code and package versions."""
  return {
    'started': datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
    'host': socket.gethostname(),
    'commit': commit(),
    'versions': versions(),
  }


def devices() -> dict:
  """Platform, kind and number of the devices; starts JAX's backend."""
  import jax

  found = jax.devices()
  return {
    'platform': found[0].platform,
    'kind': found[0].device_kind,
    'count': len(found),
    'cores': os.cpu_count(),
  }


@functools.cache
def versions() -> dict[str, str]:
  """Versions of Python, of this code and of the packages that decide what is computed."""
  found = {'python': platform.python_version(), 'whyjax': whyjax.__version__}
  for package in PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      found[package] = ''
  return found


@functools.cache
def commit() -> str:
  """The code's git commit, with '-dirty' when files differ from it; outside git what the archive
  that the code comes from says in COMMIT (launch/archive.sh), or ''."""
  command = 'git describe --always --abbrev=40 --dirty --exclude=*'.split()
  root = Path(whyjax.__file__).parents[1]
  try:
    found = subprocess.run(
      command, cwd=root, capture_output=True, text=True, timeout=10, check=True
    )
    return found.stdout.strip()
  except (OSError, subprocess.SubprocessError):
    packed = root / 'COMMIT'
    return packed.read_text().strip() if packed.exists() else ''
