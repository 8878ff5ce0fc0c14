"""Does advice to users, far from the evaluation, change what the model does when it acts itself?

The target only ever advises users in a chat domain; it is judged where it acts with tools in other
domains.

Expected: not yet measured; in the prototype advice with reasons took misaligned free-running
  choices to
nearly none, and advice without them did no better than demonstrations.
Time: about two thirds of principles.py; `--action=plan` estimates it.
Command: python -m whyjax.main --config=configs/dialogues.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'dialogues'
  config.question = 'Does advising users well make the model act well itself?'
  config.arms = (
    'none',
    'generic',
    'demonstrations',
    'filler',
    'shuffled',
    'reason',
    'advice',
    'advice-reason',
  )
  config.later_arms = ('demonstrations', 'reason', 'advice-reason')
  config.later = ('neutral', 'capability')
  config.claims = (
    'advice-reason-over-demonstrations-free',
    'advice-reason-over-demonstrations-forced',
    'advice-reason-over-advice-free',
    'advice-reason-over-filler-free',
    'advice-reason-over-shuffled-free',
    'advice-reason-outlasts-demonstrations-neutral-free',
    'advice-reason-outlasts-demonstrations-capability-free',
  )
  return config
