"""Do tool definitions that are never used make demonstrations reach further?

The same demonstrations in a chat domain, with unused tool definitions in context, and with as many
other words in their place. If the placebo does as well, it was the length and not the tools.

Result (worlds 2200-2205, dials frozen at f5162a0, rule 6; docs/experiments.md): free-running,
demonstrations leave .43 of the choices misaligned, with unused tools .44, with as many other words
.46. No claim is supported; an effect of .19 could have been seen. Where 60% of all agents change
with tools in hand (three calibration worlds, no verdict): .36, .19, .37.
Time: 10 to 12 minutes on 2 idle cores, of which pretraining 8 to 11.
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
