"""What no single field of a config can show: sums, divisibility, fields that need one another."""

from __future__ import annotations

import re
import typing

from whyjax.errors import require

if typing.TYPE_CHECKING:  # config.py calls this module
  from whyjax import config


def check(study: config.StudyConfig) -> None:
  """Whether the fields of a study go together.

  Raises:
    UserError: they do not; the line names the field, its value and what is allowed.
  """
  _check_text(study)
  _check_model(study.model)
  for name in ('pretrain', 'align', 'later_training', 'reinforcement_training'):
    _check_stage(name, getattr(study, name), study.model)
  _check_split(study)
  _check_graph(study)
  _check_doses(study)
  _check_reinforcement(study)


def _check_text(study: config.StudyConfig) -> None:
  world, pretrain, align = study.world, study.pretrain_text, study.align_text
  kinds = world.principled + world.by_domain + world.by_tools
  require(abs(kinds - 1) < 1e-6, 'world.principled + by_domain + by_tools', round(kinds, 6), '1')
  require(
    world.heldout_wordings < world.wordings,
    'world.heldout_wordings',
    world.heldout_wordings,
    f'less than world.wordings = {world.wordings}',
  )
  shares = pretrain.facts + pretrain.neutral + pretrain.target
  require(
    shares <= 1 + 1e-6, 'pretrain_text.facts + neutral + target', round(shares, 6), 'at most 1'
  )
  require(
    align.domains < world.chat_domains,
    'align_text.domains',
    align.domains,
    f'less than world.chat_domains = {world.chat_domains}, so that one is held out',
  )
  require(
    align.control_facts <= world.agents,
    'align_text.control_facts',
    align.control_facts,
    f'at most world.agents = {world.agents}',
  )
  pairs = world.virtues * world.temptations
  require(
    align.value_pairs <= pairs,
    'align_text.value_pairs',
    align.value_pairs,
    f'at most world.virtues x world.temptations = {pairs}',
  )
  require(
    'conflicting' not in study.later or bool(study.later_text.conflicting),
    'later_text.conflicting',
    study.later_text.conflicting,
    "a grid of at least one dose when config.later has 'conflicting'",
  )
  for text, stage in (('align_text', 'align'), ('later_text', 'later_training')):
    tokens, training = getattr(study, text).supervised_tokens, getattr(study, stage)
    room = training.updates * training.batch_rows * study.row_length
    require(
      tokens <= room,
      f'{text}.supervised_tokens',
      tokens,
      f'at most {stage}.updates x batch_rows x row_length = {room}',
    )


def _check_model(model: config.ModelConfig) -> None:
  require(
    model.heads % model.kv_heads == 0,
    'model.kv_heads',
    model.kv_heads,
    f'a divisor of model.heads = {model.heads}',
  )
  require(model.head_dim % 2 == 0, 'model.head_dim', model.head_dim, 'even (rotary pairs)')
  require(
    model.layers % model.shared_layers == 0,
    'model.shared_layers',
    model.shared_layers,
    f'a divisor of model.layers = {model.layers}',
  )
  if model.base_width:
    allowed = 'False with model.base_width: one table cannot have the rates of two'
    require(not model.tied_embeddings, 'model.tied_embeddings', model.tied_embeddings, allowed)


def _check_stage(name: str, stage: config.StageConfig, model: config.ModelConfig) -> None:
  require(
    not (model.base_width and stage.optimizer == 'muon'),
    f'{name}.optimizer',
    stage.optimizer,
    'adamw with model.base_width: the rule by which widths share a rate is that of Adam',
  )
  require(
    stage.batch_rows % stage.accumulation == 0,
    f'{name}.accumulation',
    stage.accumulation,
    f'a divisor of {name}.batch_rows = {stage.batch_rows}',
  )
  require(
    all(update < stage.updates for update in stage.probes),
    f'{name}.probes',
    stage.probes,
    f'below {name}.updates = {stage.updates}, after which it is asked anyway',
  )
  require(
    stage.warmup + stage.decay <= 1 + 1e-6,
    f'{name}.warmup + decay',
    stage.warmup + stage.decay,
    'at most 1',
  )


def _check_split(study: config.StudyConfig) -> None:
  split, worlds = study.statistics.split, study.seeds.worlds
  require(
    split == 0 or (2 <= split < worlds and worlds % split == 0),
    'statistics.split',
    split,
    f'0, or from 2 to below seeds.worlds = {worlds} and a divisor of it',
  )
  require(
    not (split and study.doses.arms),
    'statistics.split',
    split,
    f'0 beside config.doses.arms = {study.doses.arms!r}: a ratio of tokens is of all worlds',
  )


def _check_graph(study: config.StudyConfig) -> None:
  require(
    re.fullmatch(r'[A-Za-z0-9][\w.-]*', study.name) is not None,
    'name',
    study.name,
    'letters, digits, and any of _.- (it names the workdir)',
  )
  require(
    bool(study.later) == bool(study.later_arms),
    'later',
    study.later,
    f'given with config.later_arms and only then; later_arms = {study.later_arms!r}',
  )
  when = f'when config.kind = {study.kind!r}'
  for group, optional in (
    ('scaling', ('tokens', 'compute', 'worlds', 'alignment_tokens', 'what')),
    ('phase', ()),
  ):
    wanted = study.kind == group
    for field, given in vars(getattr(study, group)).items():
      allowed = f'{"given" if wanted else "empty"} {when}'
      fits = bool(given) == wanted or (wanted and field in optional)
      require(fits, f'{group}.{field}', given, allowed)
  for field in {'scaling': ('claims', 'later'), 'phase': ('claims', 'later')}.get(study.kind, ()):
    require(not getattr(study, field), field, getattr(study, field), f'empty {when}')


def _check_doses(study: config.StudyConfig) -> None:
  doses = study.doses
  for field, other in (('arms', 'shares'), ('shares', 'arms')):
    given, beside = getattr(doses, field), getattr(doses, other)
    allowed = f'given with config.doses.{other} = {beside!r}: a dose grid needs both'
    require(bool(given) or not beside, f'doses.{field}', given, allowed)
  require(
    study.kind == 'arms' or not doses.arms, 'doses.arms', doses.arms, "empty unless kind = 'arms'"
  )
  for arm in doses.arms:
    allowed = 'among config.arms = ' + ', '.join(study.arms)
    require(arm in study.arms, 'doses.arms', arm, allowed)
  for share in doses.shares:
    require(share < 1, 'doses.shares', share, 'below 1: the full dose is the arm itself')
  tokens = [study.align_text.dose(share) for share in doses.shares]
  whole = 'shares that differ in whole tokens, of at least 1'
  require(len({*tokens, 0}) == len(tokens) + 1, 'doses.shares', doses.shares, whole)


def _check_reinforcement(study: config.StudyConfig) -> None:
  """A reward must say something of the situations that it is given in."""
  mute = {'tasks': ('rl-harmlessness', 'rl-goal'), 'conflicts': ('rl-task',)}
  given = study.reinforcement.situations
  for kind in study.later:
    require(
      kind not in mute.get(given, ()),
      'reinforcement.situations',
      given,
      f"'own' when config.later has {kind!r}, whose reward says nothing of {given}",
    )
