"""A world in which reasons mean nothing: does the verdict machine stay silent?

In pretraining every reason and every charter names values at random, so they carry no information
about anyone's acts; alignment is as ever. A claim that is supported here would tell of the method
and not of reasons.

Result (worlds 2200-2205, dials frozen at 84aba5f, rule 6; docs/experiments.md): no claim about
reasons or charters is supported; effects that are -.4 to -.7 in the standard world are within .08
of zero here.
Time: 10 minutes on 2 idle cores, of which pretraining 8.
Command: python -m whyjax.main --config=configs/null_world.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'null_world'
  config.question = (
    'In a world where reasons carry no information, is any claim about reasons supported?'
  )
  config.world.informative_reasons = False
  config.arms = (
    'none',
    'generic',
    'demonstrations',
    'reason',
    'filler',
    'shuffled',
    'advice-reason',
    'principles',
    'principles-other',
  )
  config.claims = (
    'reason-over-demonstrations-free',
    'reason-over-filler-free',
    'reason-over-shuffled-free',
    'advice-reason-over-demonstrations-free',
    'advice-reason-over-filler-free',
    'advice-reason-over-shuffled-free',
    'principles-over-principles-other-free',
    'principles-over-principles-other-forced',
  )
  return config
