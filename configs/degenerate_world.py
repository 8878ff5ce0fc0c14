"""A world in which everyone has one order everywhere: is there anything left for reasons to
explain?

Every background agent is principled. A demonstration in one place then tells all about every other
place.

Result (worlds 1000-1003, commit 9706ff8, alignment at 10 rows an update, docs/experiments.md):
demonstrations leave .22 of the choices misaligned instead of .44 in the standard world: nearly
none in two worlds, .18 and .64 in the others. No claim that reasons help more is supported.
Time: 9 minutes on 2 cores, of which pretraining 7.
Command: python -m whyjax.main --config=configs/degenerate_world.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'degenerate_world'
  config.question = 'In a world where everyone is principled, do demonstrations reach everywhere?'
  config.world.principled = 1.0
  config.world.by_domain = 0.0
  config.world.by_tools = 0.0
  config.arms = (
    'none',
    'generic',
    'demonstrations',
    'reason',
    'filler',
    'tools',
    'advice',
    'advice-reason',
  )
  config.claims = (
    'reason-over-demonstrations-free',
    'reason-over-demonstrations-forced',
    'advice-reason-over-demonstrations-free',
    'advice-reason-over-demonstrations-forced',
    'tools-over-demonstrations-free',
  )
  return config
