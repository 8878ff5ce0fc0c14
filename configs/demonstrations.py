"""What must stand beside a demonstration for it to reach situations that it does not show?

Demonstrations alone, with the reason before or after the action, with empty words, with another
situation's reason, and with unused tools in context: same situations, same actions, same number of
supervised tokens.

Result (worlds 2200-2205, dials frozen at f5162a0, rule 6; docs/experiments.md): free-running,
demonstrations leave .43 of the choices misaligned, with the reason before the action .03, after it
.44, with empty words .54, with another situation's reason .08, with unused tools .44. Supported,
free-running: reason over demonstrations, over empty words, over the reason after.
Inconclusive: reason over demonstrations, forced (.66 against .45).
Time: 11 to 13 minutes on 2 idle cores, of which pretraining 8 to 11.
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
