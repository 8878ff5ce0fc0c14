"""How fast does later training undo what alignment did, and how much conflict does it take?

Every way of teaching goes on to later training: background text, capability text, and the same with
some examples in which the target acts by its old record. All are asked on the way, on a grid of
doses in powers of four, and the erosion of each is judged beyond what that training forgets of
control facts anyway. On the way through alignment they are asked what they know and how they act.

Result (worlds 2200-2205, dials frozen at 0f6fac1, rule 6; docs/experiments.md): after background
text and tasks, arms with reasons stand at .14 to .19, demonstrations at .57 and .64: that they stay
ahead is supported; that they lose a smaller share of their lead is inconclusive. 2% of conflicting
examples end every effect, free-running, and nothing is decided there. What is known before it is
acted on: inconclusive.
Time: 17 to 20 minutes on 2 idle cores, of which pretraining 8 to 11.
Command: python -m whyjax.main --config=configs/persistence.py
"""

from whyjax import defaults

TAUGHT = ('reason', 'advice-reason', 'principles')


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'persistence'
  config.question = 'How fast does later training undo what alignment did?'
  config.arms = config.later_arms = ('generic', 'demonstrations', *TAUGHT)
  config.later = ('neutral', 'capability', 'conflicting')
  config.later_text.conflicting = (0.02, 0.1)
  config.align.probes = (2, 4, 8)  # charters are known by heart after ten
  config.later_training.update(dict(updates=128, probes=(8, 32)))
  config.later_text.supervised_tokens = config.later_text.supervised_tokens * 128 // 80
  config.evals.batteries = (
    'agentic-tools',
    'acts-on-reasons',
    'knows',
    'facts',
    'controls',
  )
  config.claims = (
    *(
      f'{arm}-outlasts-demonstrations-{later}-free'
      for later in ('neutral', 'capability', 'conflicting-2', 'conflicting-10')
      for arm in TAUGHT
    ),
    *(
      f'{arm}-stays-ahead-of-demonstrations-{later}-free'
      for later in ('neutral', 'capability', 'conflicting-2')
      for arm in TAUGHT
    ),
    'principles-knows-before-it-acts-free',
    'advice-reason-knows-before-it-acts-free',
  )
  return config
