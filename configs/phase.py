"""Where does teaching why beat teaching what, and where do demonstrations suffice?

A diagram: the share of principled agents in the world of pretraining (how much one act tells about
acts elsewhere) against the breadth of alignment text (domains x value pairs, at one budget of
tokens). Each cell compares arms that teach why with demonstrations of the same breadth; for each
share, the boundary is the breadth from which on why helps by no more than the smallest effect.

Eight worlds, because with six no interval is ever narrow enough to say that demonstrations suffice:
the prior on how much worlds differ alone makes it .12 wide to each side, with eight .09. A column
for 20% principled, the share of the other studies, is --config.phase.principled="(0, .2, .5, 1)".

Result (worlds 4000-4007, dials frozen at 69f39db; docs/experiments.md): free-running, reasons help
by .24 to .41 where nobody or half of all are principled, from three value pairs on, and wider
demonstrations don't catch up. Where everyone is principled, demonstrations reach everywhere as they
widen (.49 to .06 misaligned); what reasons add there, .06 to .16, no cell decides. Forced, reasons
help nowhere. Charters do worse than demonstrations in all 8 cells that are scored free-running, and
in 10 of 12 forced. Cells are decided one by one: after Holm's correction over twelve, reasons help
in two.
Time: 44 minutes on 2 cores, of which pretraining two thirds, and 1.5 GB of disk. Finished cells are
reused: a further share or breadth costs its own.
Command: python -m whyjax.main --config=configs/phase.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'phase'
  config.question = (
    'Where does teaching why beat teaching what, and where do demonstrations suffice?'
  )
  config.kind = 'phase'
  config.phase.what = 'demonstrations'
  config.phase.principled = (0.0, 0.5, 1.0)
  config.phase.breadths = ('1x1', '1x3', '1x6', '2x6')
  config.arms = ('generic', 'demonstrations', 'reason', 'principles')
  config.evals.batteries = ('agentic-tools', 'in-distribution', 'facts', 'acts-on-reasons')
  config.seeds.update(dict(first_world=4000, worlds=8, per_world=1))
  if variant != 'cpu':
    config.phase.principled = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
    config.phase.breadths = ('1x1', '1x3', '1x8', '2x8', '5x8')
    config.arms = (*config.arms, 'advice-reason')
  return config
