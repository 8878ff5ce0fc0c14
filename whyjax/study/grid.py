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
    budgets = [(short(tokens), tokens) for tokens in scaling.tokens]
    budgets += [(flops(c), c / a_token(sized)) for c in scaling.compute]
    for name, tokens in budgets:
      stage = sized.pretrain
      updates = max(round(tokens / (stage.batch_rows * study.row_length)), 1)
      stage = dataclasses.replace(stage, updates=updates)
      full = '/'.join([size, name, *filter(None, [world])])
      yield Place(full, dataclasses.replace(sized, pretrain=stage))


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
  allowed = 'given, or scaling.compute'
  require(bool(scaling.tokens or scaling.compute), 'scaling.tokens', scaling.tokens, allowed)
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
