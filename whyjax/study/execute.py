"""Trains and evaluates the stages that are not done: the only part of a study that needs JAX."""

from collections.abc import Callable, Sequence
import functools
import json
from pathlib import Path
import time

import jax
import numpy as np

from whyjax import results
from whyjax.corpus import corpora, store
from whyjax.corpus.episodes import EpisodeData
from whyjax.corpus.loader import Loader
from whyjax.corpus.vocabulary import vocabulary
from whyjax.errors import UserError
from whyjax.evals.evaluate import evaluate
from whyjax.study import cache, provenance
from whyjax.study.graph import Stage
from whyjax.study.workdir import write_atomic
from whyjax.training import interrupt, loop, processes
from whyjax.training import mesh as meshes
from whyjax.training.checkpoint import Checkpoints, restore_params
from whyjax.training.reinforce import Reinforcement
from whyjax.training.step import TEXT, Method


def complete(
  stages: Sequence[Stage], workdir: Path, log: Callable[[str], None], done: Callable[[Stage], None]
) -> None:
  """Trains and evaluates each of `stages`, parents before children; `done` is called after each.

  Text that does not fit is found before compute is spent; a corpus is written when its turn comes.

  Raises:
    UserError: a corpus or checkpoint is damaged, text does not fit its rows, a loss is not finite.
    Preempted: the process was asked to end, and has saved its state.
  """
  meshes.start_backend(stages[0].study.device)
  names = processes.agreed(lambda: [s.name for s in stages if cache.trained(s, workdir) is None])
  untrained = [stage for stage in stages if stage.name in names]
  for stage in stages:
    _mesh(stage)  # refused here if it does not fit the devices
  for stage in untrained:
    # What fits in one world need not in another.
    if stage.reward:
      EpisodeData(stage.corpora, stage.training.batch_rows)
    else:
      for spec in stage.corpora:
        corpora.check_fits(spec)
  for number, stage in enumerate(stages, 1):
    interrupt.check(f'before {stage.name}')
    label = f'[{number}/{len(stages)}] '
    params = _train(stage, workdir, log, label) if stage in untrained else _params(stage, workdir)
    for update in stage.evaluated_after:
      if not processes.agreed(functools.partial(_is_answered, stage, workdir, update)):
        at = params if update is None else restore_params(_checkpoints(stage, workdir), update)
        _evaluate(stage, at, workdir, update)
    processes.first_does(functools.partial(cache.save_result, stage, workdir))
    done(stage)


def _is_answered(stage: Stage, workdir: Path, update: int | None) -> bool:
  return cache.answers(stage, workdir, update) is not None


def _train(stage: Stage, workdir: Path, log, label: str):
  """Trains a stage, writes its record, and returns its params [R, ...] on the devices."""
  begun = time.perf_counter()
  data, method, supervised = _lessons(stage, workdir)
  directory = stage.directory(workdir)
  directory.mkdir(parents=True, exist_ok=True)
  resumes = _checkpoints(stage, workdir).exists()  # only that is news
  meta = provenance.meta(stage, data.hash)
  written = json.dumps(meta, indent=1, sort_keys=True) + '\n'
  processes.first_does(lambda: write_atomic(directory / 'stage.json', written))
  result = loop.train(
    name=stage.name,
    model=stage.model,
    vocabulary=vocabulary(stage.study.world).size,
    stage=stage.training,
    device=stage.study.device,
    data=data,
    params=_inherited(stage, workdir),
    seeds=stage.seeds()[0],
    directory=directory,
    meta=meta,
    log=log if resumes else lambda line: None,
    label=label,
    method=method,
  )
  run = {
    'seconds': result.seconds,
    'tokens_per_second': result.tokens_per_second,
    'wall': time.perf_counter() - begun,
  }
  record = cache.record(
    stage,
    updates=stage.training.updates,
    corpora=data.hash,
    supervised_tokens=supervised,
    loss=result.loss,
    run=run,
    reward=result.reward,
  )
  processes.first_does(lambda: cache.save_trained(stage, workdir, record))
  return result.params


def _lessons(stage: Stage, workdir: Path) -> tuple[loop.Data, Method, list[int]]:
  """What a stage learns from, how, and how many tokens of its subject bear loss in each replica."""
  rows = stage.training.batch_rows
  if stage.reward:
    method = Reinforcement(stage.study.reinforcement, stage.study.world)
    return EpisodeData(stage.corpora, rows), method, [0] * len(stage.replicas)
  root = workdir / 'corpora'
  texts = []

  def prepare() -> None:
    texts[:] = [store.prepare(spec, root) for spec in stage.corpora]

  processes.first_does(prepare)
  if not texts:
    # Written by the first process; verified by every one, although that reads all of it: each reads
    # its rows by itself, and what a network file system shows one host says nothing about another.
    prepare()
  supervised = [text.supervised_tokens for text in texts]
  return Loader(texts, rows, stage.seeds()[1]), TEXT, supervised


def _evaluate(stage: Stage, params, workdir: Path, update: int | None) -> None:
  begun = time.perf_counter()
  mesh = _mesh(stage)
  params = jax.device_put(params, meshes.param_sharding(mesh, params))
  records = evaluate(stage.asked(update), stage.fields(), stage.replicas, params, mesh)
  if update is not None:
    # On the way only the rates count; 'eval' records speak of finished stages.
    evals, audits = (results.select(records, record=kind) for kind in ('eval', 'audit'))
    records = [r | {'record': 'probe', 'update': update} for r in evals]
    records += [r | {'update': update} for r in audits]
  seconds = time.perf_counter() - begun
  processes.first_does(lambda: cache.save_answers(stage, workdir, update, records, seconds))


def _mesh(stage: Stage) -> jax.sharding.Mesh:
  rows = stage.training.batch_rows // stage.training.accumulation
  return meshes.make_mesh(stage.study.device, len(stage.replicas), rows)


def _inherited(stage: Stage, workdir: Path):
  """The parent's params, one copy for each replica; None for a stage that starts from scratch."""
  if stage.parent is None:
    return None
  rows = np.array(stage.inherits())
  return jax.tree.map(lambda leaf: leaf[rows], _params(stage.parent, workdir))


@functools.lru_cache(maxsize=2)  # the pretrained model, and the arm whose later training goes on
def _params(stage: Stage, workdir: Path):
  """Params [R, ...] of a finished stage, on the host."""
  directory = stage.directory(workdir)
  with Checkpoints(_checkpoints(stage, workdir), keep=stage.probes) as checkpoints:
    latest = checkpoints.latest()
  # When the last one was deleted, the one before is not what was evaluated.
  if latest != stage.training.updates:
    raise UserError(
      f'{directory}: lacks its last checkpoint; delete {cache.DONE} there to train on'
    )
  try:
    return restore_params(_checkpoints(stage, workdir))
  except UserError as damage:
    raise UserError(
      f'{damage}; this stage is finished: delete {directory / cache.DONE} too'
    ) from damage


def _checkpoints(stage: Stage, workdir: Path) -> Path:
  return stage.directory(workdir) / 'checkpoints'
