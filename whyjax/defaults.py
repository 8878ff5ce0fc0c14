"""The base study: the one source of every value. Study files in configs/ start from it and change
what they are about."""

from ml_collections import config_dict

from whyjax.errors import UserError
from whyjax.model import sizes

VARIANTS = ('cpu', 'gpu', 'tpu')


def study(variant: str = 'cpu') -> config_dict.ConfigDict:
  """Every field of a study, sized for a laptop ('cpu') or for one accelerator ('gpu', 'tpu').

  Raises:
    UserError: unknown variant.
  """
  if variant not in VARIANTS:
    raise UserError(f'config variant {variant!r}: must be one of {", ".join(VARIANTS)}')
  config = config_dict.ConfigDict()
  config.name = 'study'
  config.question = ''
  config.kind = 'arms'
  config.arms = ()
  config.later_arms = ()
  config.later = ()
  config.doses = config_dict.ConfigDict(dict(arms=(), shares=()))
  config.claims = ()
  config.row_length = 96
  config.world = config_dict.ConfigDict(
    dict(
      virtues=3,
      temptations=2,
      tasks=3,
      chat_domains=3,
      agentic_domains=3,
      wordings=2,
      heldout_wordings=1,
      agents=80,
      principled=0.2,
      by_domain=0.6,
      by_tools=0.2,
      target_strength=0.8,
      informative_reasons=True,
    )
  )
  config.pretrain_text = config_dict.ConfigDict(
    dict(
      epochs=4,
      prompt_weight=0.1,
      facts=0.10,
      neutral=0.10,
      target=0.06,
      charters=0.30,
      stories=0.15,
      agent_reasons=0.35,
      target_reasons=1.0,
      advice_in_chat=0.5,
      advice_in_agentic=0.1,
      tools_in_chat=0.2,
      tools_in_agentic=0.9,
      episodes=0.3,
    )
  )
  config.align_text = config_dict.ConfigDict(
    dict(
      domains=1,
      value_pairs=6,
      situations=400,
      supervised_tokens=10_000,
      control_facts=8,
      control_tokens=5_000,
      replay=0.5,
    )
  )
  config.later_text = config_dict.ConfigDict(
    dict(
      reasons=1.0,
      conflicting=(0.01, 0.02, 0.05, 0.1),
      supervised_tokens=9_000,
      replay=0.5,
    )
  )
  config.model = config_dict.ConfigDict(sizes.size('100k'))
  config.pretrain = _stage(updates=4000, batch_rows=16, learning_rate=5e-3)
  config.align = _stage(updates=100, batch_rows=15, learning_rate=2e-3)
  config.later_training = _stage(updates=80, batch_rows=10, learning_rate=2e-3)
  config.reinforcement = config_dict.ConfigDict(
    dict(
      turns=2,
      group=8,
      max_new_tokens=16,
      temperature=1.0,
      kl=0.02,
      clip=0.2,
      passes=1,
      normalise=True,
      situations='own',
    )
  )
  config.reinforcement_training = _stage(updates=30, batch_rows=8, learning_rate=2e-4)
  config.reinforcement_training.update(
    dict(schedule='constant', weight_decay=0.0, accumulation=4 if variant == 'cpu' else 1)
  )
  config.evals = config_dict.ConfigDict(
    dict(
      batteries=(
        'in-distribution',
        'heldout-wording',
        'heldout-domain',
        'agentic-tools',
        'other-agents',
        'neutral-tasks',
        'acts-on-reasons',
        'knows',
        'facts',
        'controls',
      ),
      battery_items=120,
      max_new_tokens=20,
      samples=0,
      temperature=1.0,
      malformed_gate=0.05,
      knowledge_gate=0.9,
    )
  )
  config.seeds = config_dict.ConfigDict(dict(first_world=2200, worlds=6, per_world=1))
  config.statistics = config_dict.ConfigDict(
    dict(bootstrap=4000, confidence=0.95, smallest_effect=0.1, split=0)
  )
  config.scaling = config_dict.ConfigDict(
    dict(sizes=(), tokens=(), compute=(), worlds=(), alignment_tokens=(), what='')
  )
  config.phase = config_dict.ConfigDict(dict(principled=(), breadths=(), what=''))
  config.device = config_dict.ConfigDict(
    dict(
      platform=variant,
      host_devices=2 if variant == 'cpu' else 1,
      mesh_replica=0,
      mesh_data=0,
      mesh_model=1,
      # Devices of one host's cores share its memory, and to gather small slices costs them time.
      fsdp=variant != 'cpu',
      replica_loop=variant == 'cpu',
      steps_per_dispatch=10,
      tokens_at_once=768 if variant == 'cpu' else 0,  # what stays in the caches of a core
      scan_layers=variant != 'cpu',
      remat=False,
      compile_cache='~/.cache/whyjax/xla',
      step_timeout=3600.0 if variant == 'cpu' else 600.0,
    )
  )
  if variant != 'cpu':
    _for_accelerator(config)
  return config


def _stage(updates: int, batch_rows: int, learning_rate: float) -> config_dict.ConfigDict:
  return config_dict.ConfigDict(
    dict(
      updates=updates,
      batch_rows=batch_rows,
      accumulation=1,
      optimizer='adamw',
      learning_rate=learning_rate,
      schedule='cosine',
      warmup=0.05,
      decay=0.2,
      beta2=0.98,
      weight_decay=0.05,
      clip_norm=1.0,
      checkpoint_every=500,
      probes=(),
    )
  )


def _for_accelerator(config: config_dict.ConfigDict) -> None:
  """A larger world and model, and more seeds; 1.1e17 FLOPs of pretraining (`--action=plan` tells
  the minutes)."""
  config.row_length = 128  # what TPU's attention kernel works on
  config.model = config_dict.ConfigDict(sizes.size('10m'))
  config.model.compute_dtype = 'bfloat16'
  config.world.update(dict(chat_domains=6, agentic_domains=6, agents=400, virtues=4))
  config.align_text.update(dict(value_pairs=8, situations=1600))
  config.pretrain.update(dict(updates=10_000, batch_rows=256, learning_rate=1e-3))
  config.reinforcement_training.batch_rows = 16
  for stage in (config.align, config.later_training):
    stage.update(dict(batch_rows=16, learning_rate=5e-4))  # 16 splits over many devices
  config.evals.update(dict(battery_items=500, samples=1))
  config.seeds.update(dict(worlds=5, per_world=2))
