"""Corpora: what determines each, and its packed rows. On disk they are in `store`."""

import dataclasses
import functools
import hashlib
import json

import numpy as np

from whyjax.config import (
  AlignTextConfig,
  LaterTextConfig,
  PretrainTextConfig,
  StudyConfig,
  WorldConfig,
  as_dict,
)
from whyjax.corpus import arms, later, packing, pretraining
from whyjax.corpus.render import Role, Texts, concatenate
from whyjax.corpus.templates import TEXT_VERSION
from whyjax.world.world import World, build_world, rng_for

_PILOT = 2000  # examples whose mean length says how many a corpus needs


@dataclasses.dataclass(frozen=True)
class CorpusSpec:
  """Everything that determines a corpus, and nothing else."""

  name: str
  world: WorldConfig
  world_seed: int
  seed: int
  rows: int
  row_length: int
  pretrain_text: PretrainTextConfig
  align_text: AlignTextConfig | None = None
  arm: str = ''
  later_text: LaterTextConfig | None = None
  later: str = ''
  dose: float = 1.0  # share of the alignment text's budget

  @functools.cached_property
  def identity(self) -> str:
    """SHA-256 of the spec and the version of the text; known before anything is generated."""
    canonical = json.dumps([TEXT_VERSION, as_dict(self)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _spec(
  study: StudyConfig, name: str, rows: int, world_seed: int, seed: int, **text
) -> CorpusSpec:
  return CorpusSpec(
    name=name,
    world=study.world,
    world_seed=world_seed,
    seed=seed,
    rows=rows,
    row_length=study.row_length,
    pretrain_text=study.pretrain_text,
    **text,
  )


def pretrain_spec(study: StudyConfig, world_seed: int) -> CorpusSpec:
  """The pretraining corpus of a world: whole batches, and as many as make the configured number of
  epochs."""
  batches = -(-study.pretrain.updates // study.pretrain_text.epochs)
  return _spec(study, 'pretrain', batches * study.pretrain.batch_rows, world_seed, 0)


def align_spec(
  study: StudyConfig, arm: str, world_seed: int, seed: int, dose: float = 1.0
) -> CorpusSpec:
  """The corpus of one arm on one world; a dose below 1 has as many rows, and less alignment text
  in them."""
  stage = study.align
  text = dict(align_text=study.align_text, arm=arm, dose=dose)
  return _spec(study, f'align-{arm}', stage.updates * stage.batch_rows, world_seed, seed, **text)


def later_spec(study: StudyConfig, kind: str, world_seed: int, seed: int) -> CorpusSpec:
  """The corpus of one kind of later training; it does not depend on the arm that came before."""
  stage = study.later_training
  # The other doses are no part of what one stage reads.
  text = dict(later_text=dataclasses.replace(study.later_text, conflicting=()), later=kind)
  return _spec(study, f'later-{kind}', stage.updates * stage.batch_rows, world_seed, seed, **text)


def heldout_spec(study: StudyConfig, world_seed: int, rows: int) -> CorpusSpec:
  """Background text that no stage trains on: for the held-out loss."""
  return _spec(study, 'heldout', rows, world_seed, 1)


def build_rows(spec: CorpusSpec) -> tuple[packing.Rows, int]:
  """The packed rows of a corpus, and how many tokens of its subject bear loss.

  The loss weight of replayed background is scaled so that it has its configured share beside the
  whole budget of the subject: a token of the subject weighs the same however much of it there is.
  """
  world = build_world(spec.world, spec.world_seed)
  # Arms, and kinds of later training, draw the same background.
  rng = rng_for(spec.world_seed, spec.name.partition('-')[0], spec.seed)
  subject, beside = _subject(world, spec), _beside(world, spec)
  required = concatenate([subject, beside])
  if spec.name == 'pretrain':
    generate = functools.partial(pretraining.pretraining, world, spec.pretrain_text)
  else:
    generate = functools.partial(pretraining.background, world, spec.pretrain_text)
  filler = generate(_examples_needed(spec, required, generate), rng)
  texts = concatenate([required, filler])
  contents = packing.pack(texts, spec.rows, spec.row_length, required=len(required))
  weights = np.where(texts.roles == Role.CONTEXT, spec.pretrain_text.prompt_weight, 1.0)
  weights[texts.starts] = 0.0  # nothing predicts the first token of an example
  if dials := spec.align_text or spec.later_text:
    used = np.array([i for row in contents for i in row if i >= len(required)], np.int64)
    boundary = len(required.tokens)
    weights[:boundary] = arms.bears_loss(required)
    budget = dials.replay / (1 - dials.replay) * dials.supervised_tokens
    weights[boundary:] *= budget / np.add.reduceat(weights, texts.starts)[used].sum()
  supervised = int(arms.bears_loss(subject).sum())
  return packing.lay_out(texts, weights, contents, spec.row_length), supervised


def _subject(world: World, spec: CorpusSpec) -> Texts:
  """The text that a stage is about, all of which is placed."""
  if spec.align_text:
    return arms.alignment(world, spec.align_text, spec.arm, spec.seed, spec.dose)
  if spec.later_text:
    return later.later(world, spec.later_text, spec.later, spec.seed)
  return arms.nothing()


def _beside(world: World, spec: CorpusSpec) -> Texts:
  """Control facts: every arm learns the same ones."""
  return arms.controls(world, spec.align_text, spec.seed) if spec.align_text else arms.nothing()


def _examples_needed(spec: CorpusSpec, required: Texts, generate) -> int:
  """Background examples that fill the rows, with one in twenty to spare."""
  mean = generate(_PILOT, rng_for(spec.world_seed, 'pilot')).lengths.mean()
  free = spec.rows * spec.row_length - len(required.tokens)
  return int(1.05 * max(0, free) / mean) + 64


def check_fits(spec: CorpusSpec) -> None:
  """Whether the text that a stage is about fits its rows, without writing anything.

  Raises:
    UserError: it does not.
  """
  world = build_world(spec.world, spec.world_seed)
  required = concatenate([_subject(world, spec), _beside(world, spec)])
  packing.pack(required, spec.rows, spec.row_length, required=len(required))
