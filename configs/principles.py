"""Does it help to teach a model why it should act well, rather than only what to do?

The headline study: one pretrained model per world is aligned by charters, by advice with and
without reasons, and by demonstrations with and without reasons, at matched budgets; then trained on
without a word about its values.

Result (worlds 2200-2205, dials frozen at f5162a0, rule 6; docs/experiments.md): free-running,
demonstrations leave .43 of the choices misaligned, a reason before the act .03, advice with reasons
.03, empty words .54, charters .30, the charters' placebo .96, no alignment .98; forced, .45, .66,
.66, .72, .70, .77, .82. Supported, free-running: reasons and advice with reasons over
demonstrations, also after capability training; advice with reasons over empty words; charters over
background text. Inconclusive: the others, among them all forced ones, and that effects outlast
later training beyond forgetting.
Time: 14 to 17 minutes on 2 idle cores, of which pretraining 8 to 11.
Command: python -m whyjax.main --config=configs/principles.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'principles'
  config.question = (
    'Does teaching why (principles, reasons, advice) beat teaching what (demonstrations)?'
  )
  config.arms = (
    'none',
    'generic',
    'demonstrations',
    'reason',
    'filler',
    'shuffled',
    'after',
    'tools',
    'advice',
    'advice-reason',
    'principles',
    'principles-other',
    'principles-demonstrations',
  )
  config.later_arms = ('generic', 'demonstrations', 'reason', 'advice-reason', 'principles')
  config.later = ('neutral', 'capability')
  config.claims = (
    'reason-over-demonstrations-free',
    'advice-reason-over-demonstrations-free',
    'advice-reason-over-demonstrations-forced',
    'advice-reason-over-filler-free',
    'advice-reason-over-shuffled-free',
    'principles-over-generic-free',
    'principles-over-principles-other-free',
    'principles-over-principles-other-forced',
    'principles-demonstrations-over-demonstrations-free',
    'tools-over-demonstrations-free',
    *(
      f'{arm}-{relation}-demonstrations-capability-free'
      for relation in ('stays-ahead-of', 'outlasts')
      for arm in ('reason', 'advice-reason', 'principles')
    ),
  )
  return config
