"""What must stand beside a demonstration for it to reach situations that it does not show?

Demonstrations alone, with the reason before or after the action, with empty words, with another
situation's reason, and with unused tools in context: same situations, same actions, same number of
supervised tokens.

Result (worlds 1000-1003, commit 31f5187, docs/experiments.md): free-running, demonstrations leave
.43 of the choices misaligned, with the reason before the action .03, after it .40, with empty
words .49, with another situation's reason .14, with unused tools .40. Supported: reason over
demonstrations and over empty words, free-running. Forced, nothing is.
Time: about 10 minutes on 2 cores, of which pretraining 7.
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
