"""What must stand beside a demonstration for it to reach situations that it does not show?

Demonstrations alone, with the reason before or after the action, with empty words, with another
situation's reason, and with unused tools in context: same situations, same actions, same number of
supervised tokens.

Expected (calibration worlds 0-3, docs/experiments.md): demonstrations leave about 0.3 of the
choices misaligned, reasons before the action about 0.06 when the model runs free and more than
demonstrations when forced; without alignment 0.95.
Time: about half of principles.py; `--action=plan` estimates it.
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
