"""Corpora on disk: each is a TFDS dataset of packed rows in ArrayRecord files, written on demand
and verified on use."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import functools
import hashlib
import io
import json
from pathlib import Path

from absl import logging
import numpy as np
import tensorflow_datasets as tfds

from whyjax.config import (
  AlignTextConfig,
  LaterTextConfig,
  PretrainTextConfig,
  StudyConfig,
  WorldConfig,
)
from whyjax.corpus import arms, later, packing, pretraining
from whyjax.corpus.render import Role, Texts, concatenate
from whyjax.corpus.templates import TEXT_VERSION
from whyjax.errors import UserError
from whyjax.world.world import World, build_world, rng_for

PLANES = (
  'tokens',
  'segments',
  'positions',
  'weights',
)  # of a record; weights are stored as the bits of a float32
_PILOT = 2000  # examples whose mean length says how many a corpus needs
_BLOCK = 1024  # records verified at a time
_IN_MEMORY = 2**28  # bytes; a larger corpus is read from disk, row by row


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

  @property
  def identity(self) -> str:
    """SHA-256 of the spec and the version of the text; known before anything is generated."""
    canonical = json.dumps([TEXT_VERSION, dataclasses.asdict(self)], sort_keys=True)
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


class PackedRows(tfds.core.GeneratorBasedBuilder):
  """A corpus as a versioned TFDS dataset: one record a packed row.

  A record is a single [4, row_length] int32 tensor: reading one feature is three times as fast as
  reading four.
  """

  VERSION = tfds.core.Version(TEXT_VERSION)

  def __init__(self, spec: CorpusSpec, data_dir: Path):
    self._spec = spec
    config = tfds.core.BuilderConfig(
      name=f'{spec.name}-{spec.identity[:16]}', description=spec.name
    )
    super().__init__(data_dir=data_dir, config=config, file_format='array_record')

  def _info(self) -> tfds.core.DatasetInfo:
    shape = (len(PLANES), self._spec.row_length)
    row = tfds.features.Tensor(shape=shape, dtype=np.int32, encoding=tfds.features.Encoding.BYTES)
    return tfds.core.DatasetInfo(
      builder=self,
      description='Packed rows of synthetic moral-world text; planes: ' + ', '.join(PLANES),
      features=tfds.features.FeaturesDict(dict(row=row)),
      disable_shuffling=True,  # the order of rows is part of the corpus
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(self, dl_manager):
    rows, supervised = build_rows(self._spec)
    records = np.stack(
      [rows.tokens, rows.segments, rows.positions, rows.weights.view(np.int32)], axis=1
    )
    self.written = records
    self.info.metadata.update(
      sha256=_content_hash([records]), padding=rows.padding, supervised_tokens=supervised
    )
    return {'train': self._generate_examples(records)}

  def _generate_examples(self, records: np.ndarray):
    for i, record in enumerate(records):
      yield i, dict(row=record)


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
  """A verified corpus on disk.

  Attributes:
    source: random access to its records on disk.
    memory: all rows, [rows, planes, row_length], unless there are too many.
    hash: SHA-256 of its content.
    padding: share of tokens that are padding.
    supervised_tokens: loss-bearing tokens of the text that the stage is about (0 if it is
      background only).
  """

  spec: CorpusSpec
  source: Sequence[Mapping[str, np.ndarray]]
  memory: np.ndarray | None
  hash: str
  padding: float
  supervised_tokens: int

  @property
  def rows(self) -> int:
    """How many packed rows it has."""
    return len(self.source)

  def read(self, rows: Sequence[int]) -> np.ndarray:
    """The rows of these numbers, [n, planes, row_length] int32."""
    if self.memory is not None:
      return self.memory[rows]
    return np.stack([self.source[row]['row'] for row in rows])


def prepare(spec: CorpusSpec, root: Path) -> Corpus:
  """The corpus of a spec: written under `root` if it is not there, verified if it is.

  Raises:
    UserError: the files there are damaged or are not what their metadata say.
  """
  with _quiet():
    builder = PackedRows(spec, root)
    written = None
    if not builder.is_prepared():
      # TFDS writes beside and renames at the end: what an interrupted writer left is never taken
      # for whole.
      builder.download_and_prepare()
      written = builder.written
      builder = PackedRows(spec, root)
  is_small = spec.rows * len(PLANES) * spec.row_length * 4 <= _IN_MEMORY
  try:
    source = builder.as_data_source(split='train')
    metadata = builder.info.metadata
    expected = metadata['sha256']
    if written is None and is_small:
      written = np.concatenate(list(_blocks(source)))
    actual = _content_hash(_blocks(source) if written is None else [written])
  except Exception as fault:
    raise UserError(
      f'corpus {builder.data_dir}: damaged ({type(fault).__name__}); delete it to write it again'
    ) from fault
  if actual != expected:
    raise UserError(
      f'corpus {builder.data_dir}: content hash {actual[:12]} is not the recorded {expected[:12]};'
      ' delete it to write it again'
    )
  memory = written if is_small else None
  return Corpus(spec, source, memory, expected, metadata['padding'], metadata['supervised_tokens'])


def _blocks(source: Sequence[Mapping[str, np.ndarray]]) -> Iterator[np.ndarray]:
  """All records in order, some at a time."""
  for start in range(0, len(source), _BLOCK):
    records = source.__getitems__(range(start, min(start + _BLOCK, len(source))))
    yield np.stack([record['row'] for record in records])


def _content_hash(blocks: Iterable[np.ndarray]) -> str:
  """SHA-256 of all records in order."""
  digest = hashlib.sha256()
  for block in blocks:
    digest.update(np.ascontiguousarray(block))
  return digest.hexdigest()


def check_fits(spec: CorpusSpec) -> None:
  """Whether the text that a stage is about fits its rows, without writing anything.

  Raises:
    UserError: it does not.
  """
  world = build_world(spec.world, spec.world_seed)
  required = concatenate([_subject(world, spec), _beside(world, spec)])
  packing.pack(required, spec.rows, spec.row_length, required=len(required))


@contextlib.contextmanager
def _quiet():
  """No progress bars, notes and warnings of TFDS: writing a corpus takes seconds and has a name of
  its own."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  tfds.disable_progress_bar()
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    logging.set_verbosity(verbosity)
