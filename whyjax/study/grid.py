"""The axes of a scaling study: size of the model, tokens of pretraining, size of the world, arm of
alignment and its tokens.

Every cell of the grid is an ordinary study with a few dials set. Bases are shared: all arms and
doses of a place start from one pretrained model. A smaller dose is the first examples of the
largest.
"""

from collections.abc import Iterator
import dataclasses
import itertools
import re
from typing import Any, NamedTuple

from whyjax.config import MOST_UPDATES, ModelConfig, StudyConfig, WorldConfig
from whyjax.corpus import arms
from whyjax.corpus.vocabulary import vocabulary
from whyjax.errors import UserError, require
from whyjax.model import sizes


@dataclasses.dataclass(frozen=True)
class Place:
  """Where a model is pretrained: its name in those of stages, and the study with its dials set."""

  name: str
  study: StudyConfig


def places(study: StudyConfig) -> Iterator[Place]:
  """The places of a scaling study: each size at each budget, of tokens or of compute."""
  scaling = study.scaling
  for world, size in itertools.product(scaling.worlds or ('',), scaling.sizes):
    sized = _at(study, size, world)
    for budget in _budgets(sized):
      stage = dataclasses.replace(sized.pretrain, updates=budget.updates)
      full = '/'.join([size, budget.name, *filter(None, [world])])
      yield Place(full, dataclasses.replace(sized, pretrain=stage))


class _Budget(NamedTuple):
  """How long a model is pretrained: by which value of which field, its name, and the updates."""

  field: str
  value: float
  name: str
  updates: int


def _budgets(sized: StudyConfig) -> list[_Budget]:
  """Those of a study with its size and world set, each in whole updates."""
  scaling = sized.scaling
  given = [('scaling.tokens', t, short(t), t) for t in scaling.tokens]
  cost = a_token(sized) if scaling.compute else 1.0
  given += [('scaling.compute', c, flops(c), c / cost) for c in scaling.compute]
  update = sized.pretrain.batch_rows * sized.row_length
  return [_Budget(*known, round(tokens / update)) for *known, tokens in given]


def _at(study: StudyConfig, size: str, world: str) -> StudyConfig:
  """The study with this size of model and world; the batch grows with the model, and the learning
  rate of each width is told by muP."""
  kept = {'compute_dtype': study.model.compute_dtype, 'base_width': study.model.base_width}
  rows = study.pretrain.batch_rows * sizes.BATCH[size]
  if world:
    agents, domains = parse(world)
    peopled = dict(agents=agents, chat_domains=domains, agentic_domains=domains)
    study = dataclasses.replace(study, world=dataclasses.replace(study.world, **peopled))
  return dataclasses.replace(
    study,
    model=ModelConfig(**sizes.size(size) | kept),
    pretrain=dataclasses.replace(study.pretrain, batch_rows=rows),
  )


def a_token(study: StudyConfig) -> float:
  """FLOPs of pretraining on one token."""
  return sizes.flops_per_token(study.model, vocabulary(study.world).size, study.row_length)


def parse(world: str) -> tuple[int, int]:
  """(agents, domains) of a size of the world such as '80x3': so many domains of each kind.

  Raises:
    UserError: it does not have that form.
  """
  match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', world)
  if not match:
    raise UserError(f'config.scaling.worlds = {world!r}: must be AGENTSxDOMAINS, such as 80x3')
  return int(match[1]), int(match[2])


def fields(study: StudyConfig) -> dict[str, Any]:
  """What the records of a place say of it: `study` is the one with its dials set."""
  tokens = study.pretrain.updates * study.pretrain.batch_rows * study.row_length
  return {
    'non_embedding': sizes.non_embedding_parameters(study.model),
    'budget': tokens,
    'compute': tokens * a_token(study),
    'agents': study.world.agents,
    'domains': study.world.chat_domains,
  }


def short(count: int) -> str:
  """1500000 -> 1.5m, for names."""
  for size, unit in ((10**9, 'b'), (10**6, 'm'), (10**3, 'k')):
    if count >= size:
      return f'{count / size:g}{unit}'
  return str(count)


def flops(count: float) -> str:
  """1.2e12 -> 1.2e12flop, for names."""
  return f'{count:g}flop'.replace('e+', 'e')


def _check_world(study: StudyConfig, world: str) -> None:
  """What `config.world` is checked for, of a world of the grid."""
  agents, domains = parse(world)
  text, limits = study.align_text, {f.name: f.metadata for f in dataclasses.fields(WorldConfig)}
  least, most = max(limits['agents']['low'], text.control_facts), limits['agents']['high']
  require(
    least <= agents <= most,
    'scaling.worlds',
    world,
    f'of {least} to {most} agents (of align_text.control_facts = {text.control_facts} tools are '
    'taught)',
  )
  most = limits['chat_domains']['high']
  require(
    text.domains < domains <= most,
    'scaling.worlds',
    world,
    f'of more than align_text.domains = {text.domains} domains, one is held out; at most {most}',
  )


def _check_budgets(sized: StudyConfig, size: str) -> None:
  """Whether each budget of a size is a number of updates of its own, and has a name of its own."""
  update = sized.pretrain.batch_rows * sized.row_length
  known: dict[str | int, tuple[str, float]] = {}
  for field, value, name, updates in _budgets(sized):
    require(
      1 <= updates <= MOST_UPDATES,
      field,
      value,
      f'1 to {MOST_UPDATES} updates, of {update} tokens at size {size}; it comes to {updates:.3g}',
    )
    for same in (name, updates):
      other = known.setdefault(same, (field, value))
      what = f'named {name}' if same == name else f'{updates} updates of {update} tokens'
      allowed = f'further from {other[0]} = {other[1]!r}: at size {size} both are {what}'
      require(other == (field, value), field, value, allowed)


def check(study: StudyConfig) -> None:
  """Whether a scaling study can be.

  Raises:
    UserError: it can not.
  """
  scaling = study.scaling
  for world in scaling.worlds:
    _check_world(study, world)
  allowed = 'given, or scaling.compute'
  require(bool(scaling.tokens or scaling.compute), 'scaling.tokens', scaling.tokens, allowed)
  for world, size in itertools.product(scaling.worlds or ('',), scaling.sizes):
    _check_budgets(_at(study, size, world), size)
  if not study.arms:
    require(
      not scaling.alignment_tokens,
      'scaling.alignment_tokens',
      scaling.alignment_tokens,
      'empty without config.arms',
    )
    require(not scaling.what, 'scaling.what', scaling.what, 'empty without config.arms')
    return
  most = study.align_text.supervised_tokens
  for tokens in scaling.alignment_tokens:
    require(
      tokens <= most,
      'scaling.alignment_tokens',
      tokens,
      f'at most align_text.supervised_tokens = {most}',
    )
  require(scaling.alignment_tokens, 'scaling.alignment_tokens', (), 'given with config.arms')
  for arm in study.arms:
    sound = bool(arms.ARMS[arm].ingredients) and not arms.ARMS[arm].after
    require(
      sound,
      'arms',
      arm,
      "an arm with alignment text that starts from pretraining when kind = 'scaling'",
    )
  among = f'among config.arms = {", ".join(study.arms)}: the one that the others are compared with'
  require(scaling.what in study.arms, 'scaling.what', scaling.what, among)
