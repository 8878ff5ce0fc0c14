"""How does the loss of pretraining fall with the size of the model?

A first small grid: a few sizes at one budget of tokens, on two worlds; the held-out loss is fitted
by L(N) = E + A / N^a and drawn.

Result (worlds 1000-1001, commit 9706ff8, docs/experiments.md): held-out loss .82, .82, .74, .74
nats for 10k, 30k, 100k, 300k; no law is fitted, because the loss does not clearly fall with size
at this budget.
Time: about 5 minutes on 2 cores.
Command: python -m whyjax.main --config=configs/scaling.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'scaling'
  config.question = 'How does the pretraining loss fall with the size of the model?'
  config.kind = 'scaling'
  config.scaling.sizes = ('10k', '30k', '100k', '300k')
  config.scaling.updates = (1000,)
  config.seeds.update(dict(worlds=2, per_world=1))
  if variant != 'cpu':
    config.scaling.sizes = ('100k', '300k', '1m', '3m', '10m', '30m')
    config.scaling.updates = (10_000,)
  return config
