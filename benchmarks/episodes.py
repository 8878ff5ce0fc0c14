"""How fast does a model act? `python -m benchmarks.episodes [--config.field=value ...]` (2 minutes)

Takes configs/reinforcement.py (or another --config), pretrains two worlds for as long as it takes
to learn to call tools, and times three things, each over several rounds: episodes of reinforcement
learning, played and learnt from; situations scored forced, in both orders of their options; and
situations answered free-running. Prints the least, median and largest rate of all replicas
together, the budget of each on two idle cores, and how many of the episodes ran their full course:
where few do, episodes are short, and the first rate flatters.
"""

from collections.abc import Callable, Sequence
import dataclasses
from pathlib import Path
import sys
import tempfile
import time

import jax
import numpy as np

from whyjax import command_line
from whyjax.config import StudyConfig
from whyjax.corpus import store
from whyjax.corpus.episodes import EpisodeData
from whyjax.corpus.loader import Loader
from whyjax.corpus.vocabulary import vocabulary
from whyjax.evals import batteries
from whyjax.evals.scoring import Scorer
from whyjax.study import graph
from whyjax.training import loop
from whyjax.training import mesh as meshes
from whyjax.training.reinforce import Reinforcement
from whyjax.training.step import make_program

ROUNDS = 7
WORLDS = 2
UPDATES = 800  # of pretraining: enough to call what is offered, nearly always
BUDGETS = {'episodes': 200, 'forced': 1500, 'free-running': 300}  # a second, on two cores


def main(argv: Sequence[str]) -> None:
  """Measures and prints; `argv` as of whyjax.main."""
  study = command_line.parse([argv[0], '--config=configs/reinforcement.py', *argv[1:]]).study
  study = dataclasses.replace(
    study,
    pretrain=dataclasses.replace(study.pretrain, updates=UPDATES, probes=()),
    seeds=dataclasses.replace(study.seeds, first_world=0, worlds=WORLDS, per_world=1),
    claims=(),
  )
  meshes.start_backend(study.device)
  params = _pretrained(study)
  rates, completed = _episodes(study, params)
  found = {'episodes': rates, **_evaluations(study, params)}
  for name, rates in found.items():
    low, median, high = np.quantile(rates, [0, 0.5, 1])
    print(f'{name:12} {low:7,.0f} {median:7,.0f} {high:7,.0f} a second (budget {BUDGETS[name]:,})')
  print(f'completed    {completed:7.0%} of the episodes')


def _pretrained(study: StudyConfig) -> dict:
  """Params of a model a world, on the devices."""
  stage = graph.stages(study)[0]
  with tempfile.TemporaryDirectory() as folder:
    texts = [store.prepare(spec, Path(folder)) for spec in stage.corpora]
    return loop.train(
      name='pretrain',
      model=study.model,
      vocabulary=vocabulary(study.world).size,
      stage=stage.training,
      device=study.device,
      data=Loader(texts, stage.training.batch_rows, stage.seeds()[1]),
      params=None,
      seeds=stage.seeds()[0],
      directory=Path(folder),
      meta={},
      log=lambda line: None,
    ).params


def _episodes(study: StudyConfig, params: dict) -> tuple[list[float], float]:
  """Episodes a second in each round, and the share that ran its full course."""
  stage, device = study.reinforcement_training, study.device
  rl = next(s for s in graph.stages(study) if s.reward)
  source, method = (
    EpisodeData(rl.corpora, stage.batch_rows),
    Reinforcement(study.reinforcement, study.world),
  )
  mesh = meshes.make_mesh(device, WORLDS, stage.batch_rows // stage.accumulation)
  program = make_program(
    study.model,
    vocabulary(study.world).size,
    stage,
    device,
    mesh,
    WORLDS,
    method.row_length(source.batch(0)),
    method,
  )
  copies = jax.tree.map(lambda x: x.sharding, program.state[0])
  params = jax.device_put(params, copies, may_alias=False)
  state = params, program.init_optimizer(params)
  steps = device.steps_per_dispatch
  batches = [source.batch(step) for step in range(steps)]
  stack = {
    name: jax.device_put(np.stack([b[name] for b in batches], axis=1), x.sharding)
    for name, x in program.batch.items()
  }
  completed = []

  def learn():
    nonlocal state
    state, metrics = jax.block_until_ready(program.compiled(state, stack, np.int32(steps)))
    completed.append(np.mean(metrics['completed']))

  count = WORLDS * steps * method.rows(stage)
  return [count / seconds for seconds in _timed(learn)], float(np.mean(completed))


def _evaluations(study: StudyConfig, params: dict) -> dict[str, list[float]]:
  """Situations a second in each round, by scoring."""
  mesh = meshes.make_mesh(study.device, WORLDS, study.pretrain.batch_rows)
  params = jax.device_put(params, meshes.param_sharding(mesh, params))
  scorer, asked = Scorer(study.model, mesh, study.device), study.evals
  items = [
    batteries.build(
      study.world,
      study.pretrain_text,
      study.align_text,
      'agentic-tools',
      asked.battery_items,
      world,
    )
    for world in range(WORLDS)
  ]
  work = {
    'forced': lambda: scorer.forced(params, items),
    'free-running': lambda: scorer.free(params, items, asked.max_new_tokens, 0.0, seed=0),
  }
  count = WORLDS * asked.battery_items
  return {name: [count / s for s in _timed(action)] for name, action in work.items()}


def _timed(work: Callable) -> list[float]:
  """Seconds of each round; the first call, which loads the program, does not count."""
  work()
  seconds = []
  for _ in range(ROUNDS):
    begun = time.perf_counter()
    work()
    seconds.append(time.perf_counter() - begun)
  return seconds


if __name__ == '__main__':
  main(sys.argv)
