"""Templates to tokens, many examples at once: a template is a row of a table, a slot is a column of
numbers."""

from collections.abc import Mapping, Sequence
import dataclasses
import enum

import numpy as np

from whyjax.corpus.vocabulary import END, Vocabulary


class Role(enum.IntEnum):
  """What a token is for: arms differ in which roles bear loss."""

  CONTEXT = 0  # what others say: prompts
  DOCUMENT = 1  # running text
  REASON = 2  # what the agent says beside its action (a reason, or filler in its place)
  ACTION = 3  # the action and the words that announce and end it


@dataclasses.dataclass(frozen=True)
class Texts:
  """N examples, one after another.

  Attributes:
    tokens, roles: [total] ids and roles of all examples in order.
    lengths: [N] tokens of each example.
    apart: [N] examples with the same number here never share a row; -1 = no such rule.
  """

  tokens: np.ndarray
  roles: np.ndarray
  lengths: np.ndarray
  apart: np.ndarray

  def __len__(self) -> int:
    return len(self.lengths)

  @property
  def starts(self) -> np.ndarray:
    """[N] where each example starts in `tokens`."""
    return np.cumsum(self.lengths) - self.lengths

  def example(self, i: int) -> tuple[np.ndarray, np.ndarray]:
    """(tokens, roles) of example i."""
    span = slice(self.starts[i], self.starts[i] + self.lengths[i])
    return self.tokens[span], self.roles[span]

  def take(self, index: np.ndarray) -> 'Texts':
    """The examples at `index`, in that order."""
    lengths = self.lengths[index]
    offsets = np.cumsum(lengths) - lengths
    flat = np.arange(lengths.sum()) - np.repeat(offsets - self.starts[index], lengths)
    return Texts(self.tokens[flat], self.roles[flat], lengths, self.apart[index])


def concatenate(parts: Sequence[Texts]) -> Texts:
  """The examples of all parts in order."""
  return Texts(
    *(np.concatenate([getattr(p, f.name) for p in parts]) for f in dataclasses.fields(Texts))
  )


@dataclasses.dataclass(frozen=True)
class Piece:
  """A part of N examples: [N, L] tokens of which `mask` says which exist, all in one role."""

  tokens: np.ndarray
  mask: np.ndarray
  role: Role

  def where(self, keep: np.ndarray) -> 'Piece':
    """This piece in the examples of `keep` [N] and nothing in the others."""
    return dataclasses.replace(self, mask=self.mask & keep[:, None])


def fill(
  vocabulary: Vocabulary,
  templates: Sequence[str],
  choice: np.ndarray,
  slots: Mapping[str, np.ndarray],
  role: Role,
) -> Piece:
  """Template `choice[i]` for each example i, with each {slot} replaced by the ids in `slots`."""
  used = sorted({word[1:-1] for text in templates for word in text.split() if word.startswith('{')})

  def code(w):
    return -1 - used.index(w[1:-1]) if w.startswith('{') else vocabulary.ids[w]

  rows = [[code(word) for word in text.split()] for text in templates]
  longest = max(map(len, rows))
  table = np.array([row + [0] * (longest - len(row)) for row in rows])
  lengths = np.array([len(row) for row in rows])
  tokens = table[choice]
  for i, slot in enumerate(used):
    tokens = np.where(tokens == -1 - i, np.asarray(slots[slot])[:, None], tokens)
  return Piece(tokens.astype(np.int32), np.arange(longest) < lengths[choice][:, None], role)


def end(count: int, role: Role) -> Piece:
  """The token that closes an example."""
  return Piece(np.full((count, 1), END, np.int32), np.ones((count, 1), bool), role)


def join(pieces: Sequence[Piece], apart: np.ndarray | None = None) -> Texts:
  """Examples from their pieces in order."""
  tokens = np.concatenate([p.tokens for p in pieces], axis=1)
  mask = np.concatenate([p.mask for p in pieces], axis=1)
  roles = np.concatenate([np.full(p.tokens.shape, p.role, np.int8) for p in pieces], axis=1)
  apart = np.full(len(tokens), -1, np.int32) if apart is None else apart.astype(np.int32)
  return Texts(tokens[mask], roles[mask], mask.sum(1).astype(np.int32), apart)
