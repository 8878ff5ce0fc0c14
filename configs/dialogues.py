"""Does advice to users, far from the evaluation, change what the model does when it acts itself?

The target only ever advises users in a chat domain; it is judged where it acts with tools in other
domains.

Result (worlds 2100-2105, dials frozen at 1892390, docs/experiments.md): free-running, advice with
reasons leaves .07 of the choices misaligned, advice without .49, demonstrations .52, honeypots .32.
Supported, free-running: advice with reasons over demonstrations and over advice without. It takes
1/11 [1/115, 1/1.1] of the tokens that honeypots take (inconclusive after Holm); forced, it never
does as well as they.
Time: about 18 minutes on 2 idle cores, of which pretraining 9 to 11.
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
    'honeypots',
    'honeypots-reason',
    'reason',
    'advice',
    'advice-reason',
  )
  config.doses.arms = ('honeypots', 'advice-reason')
  config.doses.shares = (1 / 128, 1 / 64, 1 / 16, 1 / 4)
  config.later_arms = ('generic', 'demonstrations', 'reason', 'advice-reason')
  config.later = ('neutral', 'capability')
  config.claims = (
    'advice-reason-over-demonstrations-free',
    'advice-reason-over-demonstrations-forced',
    'advice-reason-over-advice-free',
    'advice-reason-leaves-a-fifth-of-generic-free',
    'advice-reason-over-honeypots-free',
    'honeypots-reason-over-honeypots-free',
    'advice-reason-needs-less-than-honeypots-free',
    'advice-reason-needs-less-than-honeypots-forced',
    'advice-reason-stays-ahead-of-demonstrations-capability-free',
    'advice-reason-outlasts-demonstrations-capability-free',
  )
  return config
