"""A study that runs in seconds: every kind of stage, two worlds, too little training to learn
anything.

All stages have one shape and one way to learn, so that one program serves them all.
"""

import os

from ml_collections import config_dict

from whyjax import defaults
from whyjax.model import sizes


def get_config(variant: str = 'cpu') -> config_dict.ConfigDict:
  config = defaults.study(variant)
  config.name = 'tiny'
  config.question = 'does it run?'
  config.arms = ('none', 'demonstrations', 'reason')
  config.later_arms = ('none', 'reason')
  config.later = ('neutral',)
  config.claims = ('reason-over-demonstrations-forced',)
  config.row_length = 96
  config.world.agents = 12
  config.align_text.update(dict(situations=20, supervised_tokens=200, control_tokens=40))
  config.later_text.supervised_tokens = 100
  config.model = config_dict.ConfigDict(sizes.size('10k'))
  for stage in (config.pretrain, config.align, config.later_training):
    stage.update(dict(updates=6, batch_rows=4, learning_rate=1e-3, checkpoint_every=3))
  batteries = ('agentic-tools', 'facts', 'controls')
  config.evals.update(dict(batteries=batteries, battery_items=6, max_new_tokens=4, samples=0))
  config.seeds.update(dict(first_world=1000, worlds=2, per_world=1))
  config.statistics.bootstrap = 100
  config.device.steps_per_dispatch = 2
  config.device.compile_cache = os.environ.get('JAX_COMPILATION_CACHE_DIR', '')  # of all tests
  return config
