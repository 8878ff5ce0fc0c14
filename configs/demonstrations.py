"""What must stand beside a demonstration for it to reach situations that it does not show?

Demonstrations alone, with the reason before or after the action, with empty words, with another
situation's reason, and with unused tools in context: same situations, same actions, same number of
supervised tokens.

Result (worlds 2100-2105, dials frozen at 1892390, docs/experiments.md): free-running,
demonstrations leave .52 of the choices misaligned, with the reason before the action .05, with
another situation's reason .24, with unused tools .52. Supported, free-running: reason over
demonstrations and over another situation's. Forced, nothing is. Not scored: filler and after,
malformed in one world each.
Time: about 13 minutes on 2 idle cores, of which pretraining 9 to 11.
Command: python -m whyjax.main --config=configs/demonstrations.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'demonstrations'
  config.question = 'What must stand beside a demonstration for it to generalise?'
  config.arms = (
    'none',
    'generic',
    'demonstrations',
    'reason',
    'filler',
    'shuffled',
    'after',
    'tools',
  )
  config.claims = (
    'reason-over-demonstrations-free',
    'reason-over-demonstrations-forced',
    'reason-over-filler-free',
    'reason-over-shuffled-free',
    'reason-over-after-free',
    'tools-over-demonstrations-free',
    'tools-over-demonstrations-forced',
  )
  return config
