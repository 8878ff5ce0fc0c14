"""Do the same demonstrations generalise to whichever spec stands beside them?

Demonstrations show two of the six pairs of values. Two specs agree with them; on the other pairs
one puts virtues first and the other temptations. Judged on the pairs that no demonstration shows,
with the controls: no spec, and each spec about another agent. And the other order: charters first,
demonstrations in a later stage, with how much demonstration data that saves.

Result (worlds 2200-2205, dials frozen at 85c78ea, rule 6; docs/experiments.md): on pairs not
shown, demonstrations leave .57 of the choices misaligned, with the first spec .50, with the second
.62: the two differ in MSM's direction in all six worlds, by a tenth (inconclusive); about another
agent they don't. Supported: charters before demonstrations save demonstrations (1/21 [1/48, 1/9.1]
of the tokens). With charters of somebody else about as many are needed (1.1 [1/4.5, 5.3]):
inconclusive.
Time: 13 to 16 minutes on 2 idle cores, of which pretraining 8 to 11.
Command: python -m whyjax.main --config=configs/spec_midtraining.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'spec_midtraining'
  config.question = 'Do the same demonstrations generalise to the values of the spec beside them?'
  config.align_text.value_pairs = 2
  config.arms = (
    'none',
    'generic',
    'demonstrations',
    'spec',
    'spec-other',
    'spec-second',
    'spec-second-other',
    'principles',
    'principles-other',
    'principles-then-demonstrations',
    'principles-other-then-demonstrations',
  )
  config.doses.update(
    dict(
      arms=(
        'demonstrations',
        'principles-then-demonstrations',
        'principles-other-then-demonstrations',
      ),
      shares=(1 / 64, 1 / 16, 1 / 4),
    )
  )
  config.evals.batteries = (*config.evals.batteries, 'heldout-pairs')
  config.claims = (
    *(
      f'{claim}-on-heldout-pairs-{scoring}'
      for claim in (
        'spec-over-demonstrations',
        'spec-over-spec-second',
        'spec-second-misleads-beside-demonstrations',
        'spec-other-over-spec-second-other',
        'spec-over-spec-other',
      )
      for scoring in ('free', 'forced')
    ),
    'spec-steers-beyond-its-placebo-on-heldout-pairs-free',
    'spec-steers-beyond-its-placebo-on-heldout-pairs-forced',
    'principles-then-demonstrations-over-demonstrations-free',
    'principles-then-demonstrations-needs-less-than-demonstrations-free',
    'principles-then-demonstrations-needs-less-than-principles-other-then-demonstrations-free',
    'principles-then-demonstrations-over-principles-other-then-demonstrations-free',
  )
  return config
