"""Twenty small worlds in which reasons mean nothing: how often does a study cry wolf?

As null_world.py: in pretraining every reason and every charter names values at random, alignment is
as ever, and a claim about reasons or charters that is supported tells of the method alone. That
study asks six worlds at the dials of the main job; this one asks twenty, at the smallest model
that knows the facts of its world, and reads them again as five studies of four worlds
(`statistics.split`). Claims that acts alone could make true (stories against background text) are
left out.

Result (worlds 3000-3019, dials frozen at c48ea6b, rule 6; docs/experiments.md): nothing is
supported, neither by the twenty worlds (12 claims are contradicted, 5 not scored) nor by any of the
five studies (0 of 85 verdicts).
Time: 7 minutes on 2 idle cores, 24 on a shared machine.
Command: python -m whyjax.main --config=configs/null_worlds.py
"""

from ml_collections import config_dict

from whyjax import defaults
from whyjax.model import sizes


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'null_worlds'
  config.question = (
    'In twenty worlds where reasons carry no information, how often is a claim about them '
    'supported?'
  )
  config.seeds.update(dict(first_world=3000, worlds=20, per_world=1))
  config.statistics.split = 4
  config.world.update(dict(informative_reasons=False, agents=20))
  config.model = config_dict.ConfigDict(sizes.size('10k'))
  # So small a model knows its facts, and the record of the target, only if they are told often.
  config.pretrain_text.update(dict(facts=0.2, target=0.12))
  config.pretrain.updates = 2000
  config.evals.batteries = ('agentic-tools', 'facts')
  config.arms = (
    'generic',
    'demonstrations',
    'reason',
    'reason-only',
    'filler',
    'shuffled',
    'after',
    'advice',
    'advice-reason',
    'principles',
    'principles-other',
    'principles-mentioned',
    'principles-reversed',
    'principles-dialogue',
    'stories',
  )
  config.claims = (
    'reason-over-demonstrations-free',
    'reason-over-demonstrations-forced',
    'reason-over-filler-free',
    'reason-over-shuffled-free',
    'reason-over-after-free',
    'reason-only-over-demonstrations-free',
    'advice-reason-over-demonstrations-free',
    'advice-reason-over-filler-free',
    'advice-reason-over-shuffled-free',
    'advice-reason-over-advice-free',
    'principles-over-principles-other-free',
    'principles-over-principles-other-forced',
    'principles-over-generic-free',
    'principles-over-principles-mentioned-free',
    'principles-over-principles-reversed-free',
    'principles-dialogue-over-generic-free',
    'stories-over-demonstrations-free',
  )
  return config
