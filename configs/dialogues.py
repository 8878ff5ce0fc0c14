"""Does advice to users, far from the evaluation, change what the model does when it acts itself?

The target only ever advises users in a chat domain; it is judged where it acts with tools in other
domains.

Result (worlds 2000-2005, text 1.3.0, dials frozen at f73436f, docs/experiments.md): free-running,
advice with reasons leaves .04 of the choices misaligned, advice without .49, demonstrations .40,
honeypots .17. Supported, free-running: advice with reasons over demonstrations, over advice
without, over empty words. Contradicted: the first of these, forced. As few misaligned choices as
honeypots leave take advice about a sixteenth of their tokens, by eye: the claim was not scored,
because a dose of 39 tokens, since left out, broke the format in one world.
Time: about 18 minutes on 2 idle cores, of which pretraining 9.
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
    'filler',
    'shuffled',
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
    'advice-reason-over-filler-free',
    'advice-reason-over-shuffled-free',
    'advice-reason-needs-less-than-honeypots-free',
    'advice-reason-needs-less-than-honeypots-forced',
    'advice-reason-outlasts-demonstrations-neutral-free',
    'advice-reason-outlasts-demonstrations-capability-free',
  )
  return config
