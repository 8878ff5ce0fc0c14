"""Batches: a pure function of (seed, step), so that the position in the data is the step and
nothing else."""

from collections.abc import Sequence

import grain
import numpy as np

from whyjax.corpus.packing import WHOLE, Part
from whyjax.corpus.store import PLANES, Corpus


class Loader:
  """Batches of R replicas, each over its own corpus in its own order.

  Attributes:
    rows: rows of each corpus.
    hash: content hash of each corpus.
  """

  def __init__(self, corpora: Sequence[Corpus], batch_rows: int, seeds: Sequence[int]):
    """One corpus and one seed of the order for each replica; `batch_rows` rows of each make a
    batch."""
    self.rows = [corpus.rows for corpus in corpora]
    self.hash = [corpus.hash for corpus in corpora]
    self._batch_rows = batch_rows
    self._corpora = corpora
    # Grain only orders the indices: reading through its pipeline takes many times as long. Every
    # epoch is a new permutation.
    self._orders = [
      grain.MapDataset.range(rows).seed(seed).shuffle().repeat()
      for rows, seed in zip(self.rows, seeds, strict=True)
    ]

  def batch(self, step: int, part: Part = WHOLE) -> dict[str, np.ndarray]:
    """The batch of a step: tokens, segments, positions (int32) and weights (float32), each [R, B,
    T]; `part` says which replicas and rows of it are read."""
    replicas, rows = part
    places = range(step * self._batch_rows, (step + 1) * self._batch_rows)[rows]
    records = np.stack(
      [
        corpus.read([order[place] for place in places])
        for corpus, order in zip(self._corpora[replicas], self._orders[replicas], strict=True)
      ]
    )
    planes = {name: np.ascontiguousarray(records[:, :, i]) for i, name in enumerate(PLANES)}
    planes['weights'] = planes['weights'].view(np.float32)
    return planes
