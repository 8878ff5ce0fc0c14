"""Corpora on disk: each is a TFDS dataset of packed rows in ArrayRecord files, written on demand
and verified on use."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import fcntl
import hashlib
import io
from pathlib import Path
import shutil

from absl import logging
import numpy as np
import tensorflow_datasets as tfds

from whyjax.corpus import corpora
from whyjax.corpus.templates import TEXT_VERSION
from whyjax.errors import UserError

PLANES = (
  'tokens',
  'segments',
  'positions',
  'weights',
)  # of a record; weights are stored as the bits of a float32
_BLOCK = 1024  # records verified at a time
_IN_MEMORY = 2**28  # bytes; a larger corpus is read from disk, row by row


class PackedRows(tfds.core.GeneratorBasedBuilder):
  """A corpus as a versioned TFDS dataset: one record a packed row.

  A record is a single [4, row_length] int32 tensor: reading one feature is three times as fast as
  reading four.
  """

  VERSION = tfds.core.Version(TEXT_VERSION)

  def __init__(self, spec: corpora.CorpusSpec, data_dir: Path):
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
    rows, supervised = corpora.build_rows(self._spec)
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

  spec: corpora.CorpusSpec
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


def prepare(spec: corpora.CorpusSpec, root: Path) -> Corpus:
  """The corpus of a spec: written under `root` if it is not there, verified if it is.

  Raises:
    UserError: the files there are damaged or are not what their metadata say.
  """
  with _quiet():
    builder = PackedRows(spec, root)
    written = None
    with _alone(root, spec):
      if not builder.is_prepared():
        # TFDS writes beside and renames at the end: what a killed writer left is never taken for
        # whole, and is of no use.
        for left in Path(builder.data_dir).parent.glob('incomplete.*'):
          shutil.rmtree(left)
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


@contextlib.contextmanager
def _alone(root: Path, spec: corpora.CorpusSpec) -> Iterator[None]:
  """Keeps others from writing this corpus: stages that run beside each other may read the same."""
  root.mkdir(parents=True, exist_ok=True)
  with open(root / f'{spec.identity[:16]}.lock', 'a') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield


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
