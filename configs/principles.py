"""Does it help to teach a model why it should act well, rather than only what to do?

The headline study: one pretrained model per world is aligned by charters, by advice with and
without reasons, and by demonstrations with and without reasons, at matched budgets; then trained on
without a word about its values.

Expected (calibration worlds 0-3, docs/experiments.md): demonstrations leave about 0.3 of the
choices misaligned, reasons before the action about 0.06 when the model runs free and more than
demonstrations when forced; without alignment 0.95.
Time: not yet measured on an idle machine; `--action=plan` estimates it.
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
  config.later_arms = ('demonstrations', 'reason', 'advice-reason', 'principles')
  config.later = ('neutral', 'capability')
  config.claims = (
    'advice-reason-over-demonstrations-free',
    'advice-reason-over-demonstrations-forced',
    'advice-reason-over-filler-free',
    'advice-reason-over-shuffled-free',
    'principles-over-principles-other-free',
    'principles-over-principles-other-forced',
    'tools-over-demonstrations-free',
    'tools-over-demonstrations-forced',
    'reason-outlasts-demonstrations-capability-free',
    'advice-reason-outlasts-demonstrations-capability-free',
    'principles-outlasts-demonstrations-capability-free',
    'reason-outlasts-demonstrations-neutral-free',
    'principles-outlasts-demonstrations-neutral-free',
  )
  return config
