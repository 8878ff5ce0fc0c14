"""Does advice to users, far from the evaluation, change what the model does when it acts itself?

The target only ever advises users in a chat domain; it is judged where it acts with tools in other
domains.

Result (worlds 2200-2205, dials frozen at f5162a0, rule 6; docs/experiments.md): free-running,
advice with reasons leaves .03 of the choices misaligned, advice without .45, demonstrations .43,
honeypots .14, honeypots with reasons .02. Supported, free-running: advice with reasons over
demonstrations, also after capability training, and over advice without. Inconclusive: the first,
forced (.66 against .45). It takes 1/1.9 [1/7, 2] of the tokens that honeypots take (inconclusive).
Time: 14 to 18 minutes on 2 idle cores, of which pretraining 8 to 11.
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
