"""Does the effect of each way of teaching persist through reinforcement learning?

Arms go on to three kinds of reinforcement learning over episodes of two calls: with a reward for
neutral tasks, for harmlessness, and for what the target's old record wants. They are asked on the
way. The reward for tasks speaks of no value: whatever changes, changes by the way. The reward for
harmlessness is what teaching asks for, and the reward for the goal the pressure against it.

The dose is 16 updates: on calibration worlds 0 and 1 twice as many took every arm to the same end
(the goal to .90 or more misaligned, harmlessness to .00), where nothing is left to compare.

Result (worlds 2200-2205, dials frozen at e7a530b, rule 6; docs/experiments.md): the reward for
tasks moves nothing (reasons and advice stay ahead of demonstrations: supported); that for
harmlessness takes every arm, and background text too, to .03 or less free-running; that for the
goal takes demonstrations to .99, charters to 1.00, reasons to .80 in the same updates
(inconclusive).
Time: 13 to 18 minutes on 2 idle cores, of which pretraining 8 to 11.
Command: python -m whyjax.main --config=configs/reinforcement.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'reinforcement'
  config.question = (
    'Does the effect of each way of teaching persist through reinforcement learning?'
  )
  config.arms = ('generic', 'demonstrations', 'reason', 'advice-reason', 'principles')
  config.later_arms = config.arms
  config.later = ('rl-task', 'rl-harmlessness', 'rl-goal')
  config.reinforcement_training.update(dict(updates=16, probes=(4, 8)))
  config.evals.batteries = (
    'agentic-tools',
    'agentic-episodes',
    'neutral-tasks',
    'facts',
    'controls',
  )
  taught = ('reason', 'advice-reason', 'principles')
  config.claims = (
    *(
      f'{arm}-outlasts-demonstrations-{rl}-free' for rl in ('rl-task', 'rl-goal') for arm in taught
    ),
    *(f'{arm}-stays-ahead-of-demonstrations-{rl}-free' for rl in config.later for arm in taught),
  )
  return config
