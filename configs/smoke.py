"""Does every part run? Every arm and every kind of later training, far too short to learn anything.

Expected: all verdicts are "not taught": the knowledge gate refuses to judge a model that has not
  learnt the facts.
Time: under 2 minutes on 2 cores.
Command: python -m whyjax.main --config=configs/smoke.py
"""

from whyjax import defaults
from whyjax.corpus import arms, later


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'smoke'
  config.question = 'Does every part run?'
  config.arms = tuple(arms.ARMS)
  config.later_arms = ('generic', 'demonstrations', 'reason', 'principles')
  config.later = tuple(later.LATER)
  config.claims = (
    'advice-reason-over-demonstrations-free',
    'principles-over-principles-other-forced',
    'reason-outlasts-demonstrations-capability-free',
  )
  config.world.agents = 20
  config.pretrain.updates = 20
  config.align.updates = 10
  config.later_training.updates = 10
  config.reinforcement_training.updates = 2
  config.align_text.update(dict(supervised_tokens=1_000, control_tokens=100))
  config.later_text.supervised_tokens = 1_000
  config.evals.battery_items = 20
  config.seeds.update(dict(worlds=2, per_world=1))
  return config
