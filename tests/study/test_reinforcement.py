"""Reinforcement learning as a stage of a study: its identity, its cost, its run, its errors."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from whyjax import command_line, results
from whyjax.errors import UserError
from whyjax.study import claims, graph, plan, runner, samples

TINY = Path(__file__).parent.parent / 'tiny.py'
DIALS = [
  '--config.arms=("demonstrations",)',
  '--config.later_arms=("demonstrations",)',
  '--config.later=("neutral", "rl-task")',
  '--config.claims=()',
  '--config.seeds.worlds=1',
  '--config.reinforcement.group=2',
  '--config.reinforcement.max_new_tokens=4',
  '--config.reinforcement_training.updates=3',
  '--config.reinforcement_training.batch_rows=2',
  '--config.reinforcement_training.accumulation=1',
  '--config.reinforcement_training.probes=(1,)',
  '--config.device.host_devices=8',
  '--config.device.compile_cache=',
]


def _study(*overrides):
  return command_line.parse(['whyjax', f'--config={TINY}', *DIALS, *overrides]).study


def _ids(study):
  return {stage.name: stage.id for stage in graph.stages(study)}


@pytest.mark.parametrize(
  'override',
  [
    'reinforcement.kl=0.5',
    'reinforcement.turns=3',
    'reinforcement.situations=tasks',
    'reinforcement_training.updates=4',
  ],
)
def test_its_dials_decide_its_own_stages_and_no_others(override):
  before, after = _ids(_study()), _ids(_study(f'--config.{override}'))
  assert {name for name in before if before[name] != after[name]} == {
    'later/demonstrations/rl-task'
  }


def test_its_cost_counts_what_is_played_as_well(tmp_path):
  stage = graph.stages(_study())[-1]
  twice = graph.stages(_study('--config.reinforcement.passes=2'))[-1]
  assert stage.reward == 'task' and stage.tokens == 3 * 2 * 2 * stage.row_length
  costs = [plan.cost(s, tmp_path).flops for s in (stage, twice)]
  assert costs[1] / costs[0] == pytest.approx((2 + 2 / 3) / (1 + 2 / 3))


def test_samples_show_episodes_and_what_each_option_earns():
  console = Console(width=300, record=True, file=io.StringIO())
  samples.show(_study(), console)
  text = console.export_text()
  shown = text[text.index('later training rl-task') :]
  assert '[the call]' in shown and ' earns 1' in shown and ' earns 0' in shown


def test_it_runs_and_resumes_as_a_stage(tmp_path):
  study, quiet = _study(), Console(quiet=True)
  runner.run(study, tmp_path, quiet)
  records = results.read(tmp_path / 'results.jsonl')
  stage = results.select(records, record='stage', later='rl-task')[0]
  assert stage['updates'] == 3 and len(stage['reward']) == 1 and stage['supervised_tokens'] == [0]
  assert not results.select(records, record='stage', later='neutral')[0]['reward']
  assert {r['update'] for r in results.select(records, record='probe', later='rl-task')} == {1}
  folder = graph.stages(study)[-1].directory(tmp_path)
  line = json.loads((folder / 'metrics.jsonl').read_text().splitlines()[-1])
  assert {'reward', 'kl', 'completed', 'written'} <= line.keys()
  before = (tmp_path / 'results.jsonl').read_bytes()
  runner.run(study, tmp_path, quiet)  # nothing is trained again
  again = [r | {'run': 0} for r in results.read(tmp_path / 'results.jsonl')]
  assert again == [r | {'run': 0} for r in records] and before


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    (
      ['reinforcement.situations=conflicts'],
      r"reinforcement\.situations = 'conflicts': must be 'own' when config\.later has 'rl-task'",
    ),
    (
      ['later=("rl-goal",)', 'reinforcement.situations=tasks'],
      r"reinforcement\.situations = 'tasks': must be 'own' when config\.later has 'rl-goal'",
    ),
    (['reinforcement.group=1'], r'reinforcement\.group = 1: must be at least 2'),
    (['reinforcement.clip=0.0'], r'reinforcement\.clip = 0\.0: must be greater than 0'),
    (['reinforcement.temperature=0.0'], r'reinforcement\.temperature = 0\.0: must be greater'),
    (
      ['reinforcement_training.accumulation=4', 'reinforcement_training.batch_rows=6'],
      r'reinforcement_training\.accumulation = 4: must be a divisor',
    ),
    (['later=("rl-tasks",)'], r"config\.later = 'rl-tasks': unknown; did you mean rl-task\?"),
  ],
)
def test_what_cannot_be_is_refused_in_one_line(overrides, message):
  with pytest.raises(UserError, match=message) as error:
    graph.stages(_study(*(f'--config.{o}' for o in overrides)))
  assert '\n' not in str(error.value)


def test_every_kind_can_be_claimed_to_leave_an_arm_ahead():
  for kind in ('rl-task', 'rl-harmlessness', 'rl-goal'):
    assert f'reason-stays-ahead-of-demonstrations-{kind}-free' in claims.CLAIMS
