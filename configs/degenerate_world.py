"""A world in which everyone has one order everywhere: is there anything left for reasons to
explain?

Every background agent is principled. A demonstration in one place then tells all about every other
place.

Result (worlds 2200-2205, dials frozen at 668f81d, rule 6; docs/experiments.md): demonstrations
leave .07 of the choices misaligned free-running and .08 forced, instead of .43 and .45 in the
standard world; reasons .00 free-running. No claim that reasons help more is supported.
Time: 10 minutes on 2 idle cores, of which pretraining 8.
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
