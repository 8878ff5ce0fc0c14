"""Do tool definitions that are never used make demonstrations reach further?

The same demonstrations in a chat domain, with unused tool definitions in context, and with as many
other words in their place. If the placebo does as well, it was the length and not the tools.

Result (worlds 2000-2005, text 1.3.0, dials frozen at f73436f, docs/experiments.md): free-running,
demonstrations leave .40 of the choices misaligned, with unused tools .42, with as many other words
.48. Nothing is supported; that other words help is contradicted.
Time: half of principles.py; `--action=plan` estimates it.
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
