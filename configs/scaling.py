"""How do the loss, and what teaching why is worth, grow with model, data and alignment text?

A grid over the size of the model, compute of pretraining, and tokens of alignment by demonstrations
and by reasons; on accelerators also over the size of the world. All arms and doses of a place start
from one pretrained model. One learning rate serves all widths (muP). Laws with intervals are fitted
to held-out loss and to misaligned choices; the largest cells are predicted before they are looked
at.

Command: python -m whyjax.main --config=configs/scaling.py
Time: 34 minutes on two cores of an Intel Xeon with AVX-512 (`:cpu`), 57 on two of an EPYC of which
other work took half. `:gpu` and `:tpu` train 168 stages of 9.4 billion tokens and 7.2e16 FLOPs
(--action=plan): 13 minutes at 30% of an A100's 312 TFLOP/s, which small widths do not reach. They
were compiled and not run.
Result (worlds 5100-5103, dials frozen at c0dfb5b; docs/experiments.md): the best size grows as
compute to the power of .30 [.19, 1.25]; no law of loss describes the whole family. Reasons leave
.08 to .40 of choices misaligned and demonstrations .43 to .53 where pretraining has taught the
target's ways; elsewhere both leave about half, which is chance. Forced, there is no difference
but in one place of twelve.
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'scaling'
  config.question = (
    'How do the loss, and what teaching why is worth, grow with model, data and alignment text?'
  )
  config.kind = 'scaling'
  config.arms = ('demonstrations', 'reason')
  config.scaling.what = 'demonstrations'
  config.scaling.sizes = ('3k', '10k', '30k', '100k')
  config.scaling.compute = (5e11, 1.2e12, 2.8e12)
  config.scaling.alignment_tokens = (100, 1_000, 10_000)
  config.model.base_width = 32
  # Chosen on world 0 and 2.4 million tokens (docs/experiments.md); of alignment, what the other
  # studies have at width 64.
  config.pretrain.learning_rate = 2e-2
  config.align.learning_rate = 4e-3
  config.evals.batteries = ('agentic-tools', 'facts')
  config.seeds.update(dict(first_world=5100, worlds=4, per_world=1))
  if variant != 'cpu':
    config.scaling.sizes = ('300k', '1m', '3m', '10m')
    # The largest then trains for 88 updates or more, the smallest reads 370 million tokens or less.
    config.scaling.compute = (1e14, 3e14, 1e15)
    config.scaling.worlds = ('80x3', '400x6')
    config.pretrain.batch_rows = 16
    config.seeds.worlds = 6
  return config
