"""A study as a graph of stages: pretrain -> align (one arm) -> later training.

An id is a content hash of all that decides what a stage computes. By it a finished stage is found
again, and a change of any dial makes a new stage beside the old one.
"""

from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import itertools
import json
from pathlib import Path
import typing

import numpy as np

from whyjax import results
from whyjax.config import ModelConfig, StageConfig, StudyConfig, did_you_mean
from whyjax.corpus import arms, corpora, episodes, later
from whyjax.errors import UserError
from whyjax.evals import batteries
from whyjax.model import sizes
from whyjax.study import axes, claims, grid, protocol

VERSION = 1  # of the training code: raise it when equal inputs no longer give equal parameters


@dataclasses.dataclass(frozen=True)
class Stage:
  """One arm of one kind of training, with all its replicas.

  `study` is the study as this stage sees it: in a scaling study with its own model, budget and
  world, in a phase study with its own kinds of agents and breadth of alignment text.
  `replicas` are (world seed, alignment seed index), worlds major.
  """

  name: str  # 'pretrain' | 'align/ARM' | 'later/ARM/LATER' | 'dose/ARM/TOKENS', or in
  # a phase study 'pretrain/PERCENT' | 'phase/PERCENT/generic' | 'phase/PERCENT/BREADTH/ARM'
  # a scaling study 'pretrain/PLACE' | 'scale/PLACE/ARM/TOKENS', PLACE = SIZE/TOKENS[/WORLD]
  kind: str  # 'pretrain' | 'align' | 'later' | 'dose'; 'phase', 'scale': alignment in such a study
  arm: str
  later: str
  study: StudyConfig
  replicas: tuple[tuple[int, int], ...]
  parent: typing.Optional['Stage']
  dose: float = 1.0  # share of the alignment text's budget

  @property
  def model(self) -> ModelConfig:
    return self.study.model

  @property
  def reward(self) -> str:
    """What its episodes are rewarded for; '' for a stage that reads text."""
    return later.reward_of(self.later)

  @property
  def training(self) -> StageConfig:
    if self.reward:
      return self.study.reinforcement_training
    fields = {'pretrain': 'pretrain', 'later': 'later_training'}
    return getattr(self.study, fields.get(self.kind, 'align'))

  @property
  def trains(self) -> bool:
    """False for the arm that goes without alignment: its model is the pretrained one."""
    return self.kind != 'align' or arms.ARMS[self.arm].trains

  @property
  def probes(self) -> tuple[int, ...]:
    """Updates after which the model is evaluated, beside the last."""
    return self.training.probes if self.trains else ()

  @property
  def evaluated_after(self) -> tuple[int | None, ...]:
    """All updates after which the model is evaluated; None, the first, is the last."""
    return (None, *self.probes)

  def asked(self, update: int | None) -> StudyConfig:
    """The study with the batteries that are asked after `update` (None = at the end): on the way
    only what curves and claims need."""
    if update is None:
      return self.study
    return _narrowed(self.study, 'lead' if self.kind == 'align' else 'excess')

  @property
  def row_length(self) -> int:
    """Tokens of a packed row, or places of an episode."""
    if not self.reward:
      return self.study.row_length
    dials, context = self.study.reinforcement, max(map(episodes.context_length, self.corpora))
    return dials.turns * (context + dials.max_new_tokens)

  @property
  def tokens(self) -> int:
    """Tokens that one replica reads or writes, padding included."""
    rows = self.training.batch_rows * (self.study.reinforcement.group if self.reward else 1)
    return self.training.updates * rows * self.row_length

  def seeds(self) -> tuple[list[int], list[int]]:
    """For each replica, the seed of its initial parameters and of the order of its data."""
    drawn = [np.random.SeedSequence(replica).generate_state(2) for replica in self.replicas]
    return [int(initial) for initial, _ in drawn], [int(order) for _, order in drawn]

  @functools.cached_property
  def corpora(self) -> tuple[corpora.CorpusSpec | episodes.EpisodeSpec, ...]:
    """What each replica reads, or where its episodes start."""
    if not self.trains:
      return ()
    if self.kind == 'pretrain':
      return tuple(corpora.pretrain_spec(self.study, world) for world, _ in self.replicas)
    if self.kind in ('align', 'dose', 'phase', 'scale'):
      return tuple(
        corpora.align_spec(self.study, self.arm, *replica, self.dose) for replica in self.replicas
      )
    spec = episodes.spec if self.reward else corpora.later_spec
    return tuple(spec(self.study, self.later, *replica) for replica in self.replicas)

  @functools.cached_property
  def id(self) -> str:
    """Sha256 of all that decides what this stage computes; neither devices nor file paths."""
    training = dict(self.training.as_dict)
    del training['checkpoint_every']  # says when to save, not what to learn
    return digest(
      {
        'version': VERSION,
        'kind': self.kind,
        'arm': self.arm,
        'later': self.later,
        'model': self.model.identity(),
        'training': training if self.trains else None,
        'replicas': self.replicas,
        'corpora': [spec.identity for spec in self.corpora],
        'parent': self.parent.id if self.parent else '',
      }
    )

  def fields(self) -> dict[str, str | float]:
    """The names by which every record of a result file refers to this stage."""
    names = {'stage': self.name, 'kind': self.kind, 'arm': self.arm, 'later': self.later}
    if self.study.kind == 'phase':
      text = self.study.align_text
      breadth = f'{text.domains}x{text.value_pairs}' if self.arm not in ('', results.BASE) else ''
      names |= {'principled': self.study.world.principled, 'breadth': breadth}
    if self.study.kind == 'scaling':
      names |= grid.fields(self.study)
      if self.arm:
        names |= {'dose': self.study.align_text.dose(self.dose)}
    return names

  def directory(self, workdir: Path) -> Path:
    """Where the stage keeps its checkpoints, metrics and records."""
    return workdir / 'stages' / f'{self.name.replace("/", "-")}-{self.id[:10]}'

  def inherits(self) -> list[int]:
    """For each replica, the index of the parent's replica that it takes its parameters from."""
    rows = {replica: row for row, replica in enumerate(self.parent.replicas)}
    # Pretraining has one replica a world: all seeds of a world start from the same parameters.
    return [rows.get(replica, rows.get((replica[0], 0))) for replica in self.replicas]


def stages(study: StudyConfig) -> tuple[Stage, ...]:
  """Every stage of the study, parents before children.

  Raises:
    UserError: an arm, battery, kind of later training, size or claim is unknown, a claim is about
      what is not run, worlds of calibration are mixed with others, or a phase study has no grid.
  """
  _check_names(study)
  protocol.check(study)
  claims.check(study)
  worlds = range(study.seeds.first_world, study.seeds.first_world + study.seeds.worlds)
  roots = tuple((world, 0) for world in worlds)
  leaves = tuple((world, seed) for world in worlds for seed in range(study.seeds.per_world))
  if study.kind == 'scaling':
    return _scaling(study, roots, leaves)
  if study.kind == 'phase':
    return _phase(study, roots, leaves)
  pretrain = Stage('pretrain', 'pretrain', '', '', study, roots, None)
  aligned = _aligned(study, leaves, pretrain)
  found = [pretrain]
  for align in aligned:
    found.append(align)
    if align.arm in study.later_arms:
      parent = align if align.trains else pretrain
      found += [
        Stage(f'later/{align.arm}/{kind}', 'later', align.arm, kind, study, leaves, parent)
        for kind in later_kinds(study)
      ]
  return (*found, *_doses(study, aligned))


def later_kinds(study: StudyConfig) -> tuple[str, ...]:
  """The kinds of later training of a study, one entry a dose."""
  return tuple(dose for kind in study.later for dose in later.doses(study.later_text, kind))


def _scaling(study: StudyConfig, roots, leaves) -> tuple[Stage, ...]:
  """One pretraining a place of the grid; from it every arm at every dose."""
  grid.check(study)
  found = []
  for place in grid.places(study):
    pretrain = Stage(f'pretrain/{place.name}', 'pretrain', '', '', place.study, roots, None)
    found.append(pretrain)
    for arm, tokens in itertools.product(study.arms, study.scaling.alignment_tokens):
      name = f'scale/{place.name}/{arm}/{tokens}'
      dose = tokens / study.align_text.supervised_tokens
      found.append(Stage(name, 'scale', arm, '', place.study, leaves, pretrain, dose))
  return tuple(found)


def _phase(study: StudyConfig, roots, leaves) -> tuple[Stage, ...]:
  """One pretraining a share; from it every arm at every breadth, and once the arm without any."""
  axes.check(study)
  found = []
  for share in study.phase.principled:
    peopled, percent = axes.at_share(study, share), axes.percent(share)
    pretrain = Stage(f'pretrain/{percent}', 'pretrain', '', '', peopled, roots, None)
    cells = [('', results.BASE, peopled)] + [
      (f'{breadth}/', arm, axes.at_breadth(peopled, breadth))
      for breadth in study.phase.breadths
      for arm in study.arms
      if arm != results.BASE
    ]
    found.append(pretrain)
    found += [
      Stage(f'phase/{percent}/{where}{arm}', 'phase', arm, '', seen, leaves, pretrain)
      for where, arm, seen in cells
    ]
  return tuple(found)


def _aligned(
  study: StudyConfig, replicas: tuple[tuple[int, int], ...], pretrain: Stage
) -> Sequence[Stage]:
  """The stages of alignment: in the order of the study, but for those that start from others."""
  found: dict[str, Stage] = {}
  for arm in sorted(study.arms, key=lambda arm: bool(arms.ARMS[arm].after)):
    before = arms.ARMS[arm].after
    if before and before not in found:
      raise UserError(f'config.arms = {arm!r}: needs arm {before!r} in config.arms')
    parent = found[before] if before else pretrain
    found[arm] = Stage(f'align/{arm}', 'align', arm, '', study, replicas, parent)
  return list(found.values())


def _doses(study: StudyConfig, aligned: Sequence[Stage]) -> list[Stage]:
  """The arms of a dose study at each smaller dose; they are asked what the curves need, once."""
  once = _narrowed(study, 'efficiency')
  once = dataclasses.replace(once, align=dataclasses.replace(study.align, probes=()))
  return [
    dataclasses.replace(
      stage,
      name=f'dose/{stage.arm}/{study.align_text.dose(share)}',
      kind='dose',
      study=once,
      dose=share,
    )
    for stage in aligned
    if stage.arm in study.doses.arms
    for share in sorted(study.doses.shares)
  ]


def _narrowed(study: StudyConfig, measure: str) -> StudyConfig:
  """The study with only the batteries that every study and the claims of a measure need."""
  claimed = [c for c in claims.check(study) if c.measure == measure]
  asked = {*batteries.REQUIRED, *(b for c in claimed for b in claims.asked(c))}
  kept = tuple(b for b in study.evals.batteries if b in asked)
  return dataclasses.replace(study, evals=dataclasses.replace(study.evals, batteries=kept))


def digest(content: typing.Any) -> str:
  """Sha256 of the canonical JSON of `content`."""
  return hashlib.sha256(
    json.dumps(content, sort_keys=True, separators=(',', ':')).encode()
  ).hexdigest()


def _check_names(study: StudyConfig) -> None:
  named = {
    'arms': (study.arms, arms.ARMS),
    'later': (study.later, later.LATER),
    'scaling.sizes': (study.scaling.sizes, sizes.SIZES),
    'evals.batteries': (study.evals.batteries, batteries.ABOUT),
  }
  for field, (words, allowed) in named.items():
    for word in words:
      if word not in allowed:
        raise UserError(f'config.{field} = {word!r}: unknown; {did_you_mean(word, allowed)}')
  for arm in study.later_arms:
    if arm not in study.arms:
      among = ', '.join(study.arms)
      raise UserError(f'config.later_arms = {arm!r}: must be among config.arms = {among}')
  for arm in study.doses.arms:
    if not arms.ARMS[arm].ingredients:
      raise UserError(f'config.doses.arms = {arm!r}: must be an arm that reads alignment text')
  for battery in batteries.REQUIRED:
    if battery not in study.evals.batteries:
      raise UserError(f'config.evals.batteries: lacks {battery}, which every study needs')
  pairs = study.world.virtues * study.world.temptations
  if 'heldout-pairs' in study.evals.batteries and study.align_text.value_pairs == pairs:
    raise UserError(
      f"config.evals.batteries = 'heldout-pairs': needs align_text.value_pairs below {pairs}, "
      'so that some are held out'
    )
