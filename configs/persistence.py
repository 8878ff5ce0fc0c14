"""How fast does later training undo what alignment did?

Every way of teaching goes on to later training, neutral and capability, and is asked on the way: a
curve for each arm, from the aligned model to three times the usual dose.

Expected: not yet measured at these dials.
Time: about 14 minutes on 2 cores; `--action=plan` estimates it.
Command: python -m whyjax.main --config=configs/persistence.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'persistence'
  config.question = 'How fast does later training undo what alignment did?'
  config.arms = ('none', 'demonstrations', 'reason', 'advice-reason', 'principles', 'stories')
  config.later_arms = ('none', 'demonstrations', 'reason', 'advice-reason', 'principles', 'stories')
  config.later = ('neutral', 'capability')
  config.later_training.update(dict(updates=240, probes=(15, 30, 60, 120)))
  config.later_text.supervised_tokens *= 3
  config.evals.batteries = ('agentic-tools', 'in-distribution', 'acts-on-reasons', 'facts')
  config.claims = tuple(
    f'{arm}-outlasts-demonstrations-{later}-free'
    for later in config.later
    for arm in ('reason', 'advice-reason', 'principles')
  )
  return config
