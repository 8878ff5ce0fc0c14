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
from typing import Any

from whyjax.config import ModelConfig, StudyConfig
from whyjax.corpus import arms
from whyjax.errors import UserError, require
from whyjax.model import sizes


@dataclasses.dataclass(frozen=True)
class Place:
  """Where a model is pretrained.

  Attributes:
    size: a name of model/sizes.py.
    tokens: of pretraining, about: rounded to whole updates.
    world: AGENTSxDOMAINS; '' = as the config has it.
    study: with these dials set.
  """

  size: str
  tokens: int
  world: str
  study: StudyConfig

  @property
  def name(self) -> str:
    """As it stands in the names of stages."""
    return '/'.join([self.size, short(self.tokens), *filter(None, [self.world])])


def places(study: StudyConfig) -> Iterator[Place]:
  """Places of a scaling study, the cheapest first within each world."""
  for world in study.scaling.worlds or ('',):
    for size, tokens in itertools.product(study.scaling.sizes, study.scaling.tokens):
      yield Place(size, tokens, world, _at(study, size, tokens, world))


def _at(study: StudyConfig, size: str, tokens: int, world: str) -> StudyConfig:
  """The study with these dials; the batch grows with the size, the learning rate is told by muP."""
  kept = {'compute_dtype': study.model.compute_dtype, 'base_width': study.model.base_width}
  stage, grown = study.pretrain, sizes.BATCH[size]
  rows = stage.batch_rows * grown
  updates = max(round(tokens / (rows * study.row_length)), 1)
  stage = dataclasses.replace(
    stage, batch_rows=rows, accumulation=stage.accumulation * grown, updates=updates
  )
  if world:
    agents, domains = parse(world)
    peopled = dict(agents=agents, chat_domains=domains, agentic_domains=domains)
    study = dataclasses.replace(study, world=dataclasses.replace(study.world, **peopled))
  model = ModelConfig(**sizes.size(size) | kept)
  return dataclasses.replace(study, model=model, pretrain=stage)


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
  return {
    'non_embedding': sizes.non_embedding_parameters(study.model),
    'budget': budget(study),
    'agents': study.world.agents,
    'domains': study.world.chat_domains,
  }


def budget(study: StudyConfig) -> int:
  """D: tokens of pretraining of one replica, padding included."""
  return study.pretrain.updates * study.pretrain.batch_rows * study.row_length


def short(count: int) -> str:
  """1500000 -> 1.5m, for names."""
  for size, unit in ((10**9, 'b'), (10**6, 'm'), (10**3, 'k')):
    if count >= size:
      return f'{count / size:g}{unit}'
  return str(count)


def check(study: StudyConfig) -> None:
  """Whether a scaling study can be.

  Raises:
    UserError: it can not.
  """
  scaling = study.scaling
  for size in scaling.sizes:
    sizes.size(size)
  for world in scaling.worlds:
    _, domains = parse(world)
    require(
      domains > study.align_text.domains,
      'scaling.worlds',
      world,
      f'of more than align_text.domains = {study.align_text.domains} domains: one is held out',
    )
  names = [short(tokens) for tokens in scaling.tokens]
  require(len(set(names)) == len(names), 'scaling.tokens', scaling.tokens, 'further apart')
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
