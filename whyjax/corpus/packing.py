"""Examples to rows of fixed length, beforehand: no row is built during training.

Best fit among a window of open rows (Johnson 1973; for language models Ding et al. 2024, "Fewer
Truncations Improve Language Modeling"): little padding, and no example is ever cut.
"""

import bisect
import dataclasses

import numpy as np

from whyjax.corpus.render import Texts
from whyjax.errors import UserError

Part = tuple[slice, slice]  # of a batch: replicas and rows
WHOLE = (slice(None), slice(None))
_WINDOW = 64  # rows open at a time


@dataclasses.dataclass(frozen=True)
class Rows:
  """Packed rows, each array [rows, row_length].

  Attributes:
    tokens: ids; 0 is padding.
    segments: 1, 2, ... for the examples of a row, 0 for padding.
    positions: place of a token in its own example.
    weights: loss weight of a token as a target; 0 for the first of an example and for padding.
  """

  tokens: np.ndarray
  segments: np.ndarray
  positions: np.ndarray
  weights: np.ndarray

  @property
  def padding(self) -> float:
    """The share of tokens that are padding."""
    return float((self.segments == 0).mean())


def pack(texts: Texts, rows: int, row_length: int, *, required: int = 0) -> list[list[int]]:
  """The examples of each of `rows` rows.

  Args:
    required: so many first examples are all placed, spread evenly; of the others as many as fit, in
      order.
  Raises:
    UserError: a required example finds no room, or the others run out before the rows are full.
  """
  lengths, apart = texts.lengths.tolist(), texts.apart.tolist()
  shortest = min(lengths[required:], default=0)
  contents: list[list[int]] = [[] for _ in range(rows)]
  room = [row_length] * rows
  present: list[set[int]] = [set() for _ in range(rows)]

  def place(example: int, row: int) -> None:
    contents[row].append(example)
    room[row] -= lengths[example]
    if apart[example] >= 0:
      present[row].add(apart[example])

  cursor = 0
  for example in range(required):
    for step in range(rows):
      row = (cursor + step) % rows
      if lengths[example] <= room[row] and apart[example] not in present[row]:
        place(example, row)
        cursor = row + 1
        break
    else:
      raise UserError(
        f'alignment text does not fit: example {example} of {required} finds no row among {rows} of'
        f' {row_length} tokens (documents of one agent never share a row);'
        ' lower align_text.supervised_tokens or raise align.batch_rows'
      )

  # Open rows as (room, row), sorted; the best fit is the first with room enough and no document of
  # the same agent.
  waiting = iter(range(min(_WINDOW, rows), rows))
  window = sorted((room[row], row) for row in range(min(_WINDOW, rows)))
  upcoming = next(waiting, None)
  for example in range(required, len(texts)):
    length = lengths[example]
    if upcoming is not None and (
      window[0][0] < shortest or window[-1][0] < length <= room[upcoming]
    ):
      # The fullest row is done (nothing fits, or not this example, which the next row can take):
      # open the next.
      window.pop(0)
      bisect.insort(window, (room[upcoming], upcoming))
      upcoming = next(waiting, None)
    at = bisect.bisect_left(window, (length, -1))
    while at < len(window) and apart[example] in present[window[at][1]]:
      at += 1
    if at < len(window):  # otherwise no open row takes this example, and it is left out
      row = window.pop(at)[1]
      place(example, row)
      bisect.insort(window, (room[row], row))
  return contents


def lay_out(texts: Texts, weights: np.ndarray, contents: list[list[int]], row_length: int) -> Rows:
  """The arrays of packed rows; `weights` [total tokens] are the loss weights of `texts.tokens`."""
  order = np.array([example for row in contents for example in row], np.int64)
  per_row = np.array([len(row) for row in contents])
  laid = texts.take(order)
  row_of = np.repeat(np.arange(len(contents)), per_row)
  first = np.repeat(np.cumsum(per_row) - per_row, per_row)
  segment = np.arange(len(order)) - first + 1
  start_in_row = laid.starts - laid.starts[first] if len(order) else laid.starts
  position = np.arange(len(laid.tokens)) - np.repeat(laid.starts, laid.lengths)
  flat = np.repeat(row_of * row_length + start_in_row, laid.lengths) + position
  source = np.repeat(texts.starts[order], laid.lengths) + position

  def scatter(values: np.ndarray, dtype) -> np.ndarray:
    out = np.zeros(len(contents) * row_length, dtype)
    out[flat] = values
    return out.reshape(len(contents), row_length)

  loss = np.where(position > 0, weights[source], 0.0)
  return Rows(
    tokens=scatter(laid.tokens, np.int32),
    segments=scatter(np.repeat(segment, laid.lengths), np.int32),
    positions=scatter(position, np.int32),
    weights=scatter(loss, np.float32),
  )
