"""Every arm, every later training, every battery, every claim that one set of dials allows.

One pretrained model a world, and all that the other studies ask of it: for those who want one file
of results. Left out is what needs other dials: two specs over few value pairs
(spec_midtraining.py), curves on the way (persistence.py), grids of worlds (phase.py, scaling.py).
With so many claims Holm's correction is harsh; the smaller studies have the power.

Result (worlds 2200-2205, dials frozen at d27c4fb, rule 6; docs/experiments.md): of 220 claims 4 are
supported (reasons, and advice with reasons, over empty words; advice with reasons over bare advice
and over irrelevant advice, free-running), 5 contradicted, all forced, 209 inconclusive, 2 not
scored. What no other study asks: after capability training in silence reasons are no longer ahead
(.67 against .60, inconclusive).
Time: 31 minutes on 2 idle cores (107 stages, reused one by one), of which pretraining 8; 1.5 GB.
Command: python -m whyjax.main --config=configs/everything.py
"""

from whyjax import defaults
from whyjax.corpus import arms, later
from whyjax.evals import batteries
from whyjax.study import claims

_OWN_DIALS = ('heldout-pairs',)  # batteries that need fewer value pairs than there are
_SPECS = ('spec', 'spec-other', 'spec-second', 'spec-second-other')


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'everything'
  config.question = 'Which of all claims hold?'
  config.arms = tuple(arm for arm in arms.ARMS if arm not in _SPECS)
  config.later_arms = (
    'generic',
    'demonstrations',
    'reason',
    'advice-reason',
    'principles',
    'stories',
  )
  config.later = tuple(later.LATER)
  config.reinforcement_training.updates = 16  # as in reinforcement.py
  config.doses.update(
    dict(
      arms=(
        'demonstrations',
        'honeypots',
        'advice-reason',
        'principles-then-demonstrations',
        'principles-other-then-demonstrations',
      ),
      shares=(1 / 128, 1 / 64, 1 / 16, 1 / 4),
    )
  )
  config.evals.batteries = tuple(b for b in batteries.ABOUT if b not in _OWN_DIALS)
  config.claims = tuple(
    name
    for name, claim in claims.CLAIMS.items()
    if claim.battery not in _OWN_DIALS and claim.measure != 'lead'
  )
  return config
