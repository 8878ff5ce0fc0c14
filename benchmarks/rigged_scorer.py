"""A negative control that must fail: `python -m benchmarks.rigged_scorer`.

A small study of two arms is judged twice on the same weights (a minute on 2 idle cores, most of it
compilation): once as it is, once with a scorer that is fed the oracle, by which the arm 'reason' is
always right and its control always wrong. Prints three sets of verdicts: honest; rigged, as they
would be without audits; rigged, as they are. The models learn nothing in so few updates, so the
gates on knowledge and on malformed answers are open: they would refuse every claim, and hide what
the audit does.
"""

from pathlib import Path
import tempfile

from absl import logging
from ml_collections import config_dict
import numpy as np
from rich.console import Console

from whyjax import config, defaults, results
from whyjax.config import StudyConfig
from whyjax.corpus.vocabulary import END
from whyjax.evals import scoring
from whyjax.model import sizes
from whyjax.report import audits, table
from whyjax.study import claims, execute, judgement, runner

LETTERS = {'reason': 'a', 'demonstrations': 'm'}  # what the oracle is made to say of an arm


def small() -> StudyConfig:
  """Two worlds, two arms, a few updates."""
  tree = defaults.study('cpu')
  tree.name = 'rigged_scorer'
  tree.question = 'Is a scorer that is fed the oracle found out?'
  tree.arms = tuple(LETTERS)
  tree.claims = ('reason-over-demonstrations-free', 'reason-over-demonstrations-forced')
  tree.world.agents = 12
  tree.align_text.update(dict(situations=20, supervised_tokens=200, control_tokens=40))
  tree.model = config_dict.ConfigDict(sizes.size('10k'))
  for stage in (tree.pretrain, tree.align):
    stage.update(dict(updates=10, batch_rows=4))
  gates = dict(knowledge_gate=0.0, malformed_gate=1.0)
  batteries = ('agentic-tools', 'facts')
  tree.evals.update(dict(batteries=batteries, battery_items=60, max_new_tokens=6, **gates))
  tree.seeds.update(dict(first_world=1000, worlds=4, per_world=1))
  return config.parse(tree.to_dict())


def rig() -> None:
  """From here on the answers of both arms are the oracle's; no weight is touched."""
  evaluate, forced, free = execute.evaluate, scoring.Scorer.forced, scoring.Scorer.free
  asked = {}

  def noticing(study, stage, *rest):
    asked['arm'] = stage['arm']
    return evaluate(study, stage, *rest)

  def rigged_forced(self, params, batteries):
    outcomes, margin = forced(self, params, batteries)
    letter = LETTERS.get(asked['arm'])
    return (np.full_like(outcomes, letter) if letter else outcomes), margin

  def rigged_free(self, params, batteries, room, temperature, seed):
    letter = LETTERS.get(asked['arm'])
    if not letter:
      return free(self, params, batteries, room, temperature, seed)
    written = np.full((len(batteries), len(batteries[0].right), room), END)
    written[..., 0] = [b.right if letter == 'a' else b.wrong for b in batteries]
    return np.full(written.shape[:2], letter), written

  execute.evaluate = noticing
  scoring.Scorer.forced, scoring.Scorer.free = rigged_forced, rigged_free


def main() -> None:
  """Prints the three sets of verdicts."""
  logging.set_verbosity(logging.FATAL)
  study, console = small(), Console(width=120)
  with tempfile.TemporaryDirectory() as directory:
    workdir = Path(directory) / 'w'
    honest = _run(study, workdir)
    for answers in workdir.glob('stages/*/evals.jsonl'):
      answers.unlink()  # the weights stay, and are asked again
    rig()
    rigged = _run(study, workdir)
  believed = [r for r in rigged if r['record'] not in ('audit', 'verdict')]
  believed += judgement.judge(believed, claims.check(study), study.statistics, study.evals)
  shown = {'honest': honest, 'rigged, without audits': believed, 'rigged': rigged}
  for title, records in shown.items():
    console.rule(title)
    console.print(table.verdicts(records), audits.line(records))


def _run(study: StudyConfig, workdir: Path) -> list[dict]:
  runner.run(study, workdir, Console(quiet=True))
  return results.read(workdir / 'results.jsonl')


if __name__ == '__main__':
  main()
