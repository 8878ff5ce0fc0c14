"""Does the effect of each way of teaching persist through reinforcement learning?

Arms go on to three kinds of reinforcement learning over episodes of two calls: with a reward for
neutral tasks, for harmlessness, and for what the target's old record wants. They are asked on the
way. The reward for tasks speaks of no value: whatever changes, changes by the way. The reward for
harmlessness is what teaching asks for, and the reward for the goal the pressure against it.

Expected, from calibration worlds 0 and 1 (no verdict): the reward for tasks, which pretraining
  already meets to .98, moves nothing; that for harmlessness takes every arm to .00 free-running;
  that for the goal takes every arm to .90 or more, but arms with reasons later: after 15 of 30
  updates .54 and .58, demonstrations .88, charters 1.00.
Time: under 20 minutes on 2 cores; `--action=plan` estimates it.
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
  config.reinforcement_training.probes = (5, 15)
  config.evals.batteries = (
    'agentic-tools',
    'agentic-episodes',
    'neutral-tasks',
    'facts',
    'controls',
  )
  config.seeds.update(dict(worlds=4, per_world=1))
  config.claims = tuple(
    f'{arm}-{relation}-demonstrations-{later}-free'
    for relation in ('outlasts', 'erodes-less-than')
    for later in config.later
    for arm in ('reason', 'advice-reason', 'principles')
  )
  return config
