"""Does advice to users, far from the evaluation, change what the model does when it acts itself?

The target only ever advises users in a chat domain; it is judged where it acts with tools in other
domains.

Result (worlds 1000-1003, commit 31f5187, docs/experiments.md): free-running, advice with reasons
leaves .02 of the choices misaligned, advice without .42, demonstrations .43. Supported, free-
running: advice with reasons over demonstrations and over empty words. Forced, nothing is. Whether
it outlasts later training is inconclusive.
Expected of the doses, from one calibration world: free-running, advice with reasons needs less than
1/64 of the tokens that honeypots need; forced, it never does as well. Not yet measured here.
Time: about 15 minutes on 2 cores, of which pretraining 8; `--action=plan` estimates it.
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
