"""What arms have in common, by machine: they must differ in what they are named for, no more."""

from collections.abc import Sequence

import numpy as np

from whyjax.config import StudyConfig
from whyjax.corpus import arms
from whyjax.corpus.render import Role
from whyjax.corpus.vocabulary import vocabulary
from whyjax.study.graph import Stage
from whyjax.world.world import build_world


def compare_arms(
  study: StudyConfig, stages: Sequence[Stage], records: Sequence[dict]
) -> list[dict]:
  """'check' records: every arm that reads alignment text beside the first of them that acts.

  Actions are compared on the first replica, token by token; budgets on all, from 'stage' records.
  """
  budgets = {r['stage']: r for r in records if r['record'] == 'stage'}
  aligned = [
    stage for stage in stages if stage.kind == 'align' and arms.ARMS[stage.arm].ingredients
  ]
  actions = {stage.arm: _actions(study, stage) for stage in aligned}
  first = next((stage for stage in aligned if len(actions[stage.arm])), None)
  return [
    {
      'record': 'check',
      'name': 'arms',
      'arms': [first.arm, stage.arm],
      'text': '; '.join(
        [
          _same_actions(study, actions[first.arm], actions[stage.arm]),
          _same_budget(budgets[first.name], budgets[stage.name]),
        ]
      ),
    }
    for stage in aligned
    if first and stage is not first
  ]


def _actions(study: StudyConfig, stage: Stage) -> np.ndarray:
  """The tokens of all actions in an arm's text and of the words that announce them, in order."""
  world, seed = stage.replicas[0]
  texts = arms.alignment(build_world(study.world, world), study.align_text, stage.arm, seed)
  return texts.tokens[texts.roles == Role.ACTION]


def _same_actions(study: StudyConfig, a: np.ndarray, b: np.ndarray) -> str:
  """Arms fill one budget with longer or shorter examples, so one goes on where the other ends."""
  chosen = [tokens[np.isin(tokens, vocabulary(study.world).actions)] for tokens in (a, b)]
  shared = min(map(len, chosen))
  if not shared:
    return 'no situations in common'
  differ = int((chosen[0][:shared] != chosen[1][:shared]).sum())
  length = min(len(a), len(b))
  announced = 'announced alike' if (a[:length] == b[:length]).all() else 'announced in other words'
  return f'{shared} actions in common, ' + (
    f'{differ} differ' if differ else f'identical and {announced}'
  )


def _same_budget(a: dict, b: dict) -> str:
  gaps = [abs(x - y) for x, y in zip(a['supervised_tokens'], b['supervised_tokens'], strict=True)]
  tokens = f'differ by up to {max(gaps)}' if any(gaps) else 'equal'
  updates = 'equal' if a['updates'] == b['updates'] else f'{a["updates"]} against {b["updates"]}'
  return f'supervised tokens {tokens} (of {max(a["supervised_tokens"])}), updates {updates}'
