"""Does it help to teach a model why it should act well, rather than only what to do?

The headline study: one pretrained model per world is aligned by charters, by advice with and
without reasons, and by demonstrations with and without reasons, at matched budgets; then trained on
without a word about its values.

Result (worlds 2100-2105, dials frozen at 1892390, docs/experiments.md): free-running,
demonstrations leave .52 of the choices misaligned, advice with reasons .07, charters .53, the
charters' placebo .88, no alignment .99; forced, .52, .57, .66, .78, .79. Supported, free-running:
advice with reasons over demonstrations. Not scored: that over empty words. Inconclusive: the
others, among them that effects outlast later training beyond forgetting.
Time: 15 to 17 minutes on 2 idle cores, of which pretraining 9 to 11.
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
