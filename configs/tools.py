"""Do tool definitions that are never used make demonstrations reach further?

The same demonstrations in a chat domain, with unused tool definitions in context, and with as many
other words in their place. If the placebo does as well, it was the length and not the tools.

Result (worlds 2100-2105, dials frozen at 1892390, docs/experiments.md): free-running,
demonstrations leave .52 of the choices misaligned, with unused tools .52, with as many other words
.51. No claim is supported; an effect of .18 could have been seen.
Time: about 12 minutes on 2 idle cores, of which pretraining 9 to 11.
Command: python -m whyjax.main --config=configs/tools.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'tools'
  config.question = 'Do unused tool definitions make demonstrations reach further?'
  config.arms = ('none', 'generic', 'demonstrations', 'tools', 'tools-placebo')
  config.claims = (
    *(
      f'{claim}-{scoring}'
      for claim in ('tools-over-demonstrations', 'tools-over-tools-placebo')
      for scoring in ('free', 'forced')
    ),
    'tools-placebo-over-demonstrations-free',
  )
  return config
