"""Which doses and worlds of a place make a table without holes.

A mean over other worlds is another mean: a curve, and a comparison of two arms, is of the same
worlds at every dose. Where cells are missing, doses and worlds are left out, and told: as few cells
with them as a greedy search finds, and no dose that a curve needs.
"""

from collections.abc import Sequence

import numpy as np

from whyjax.scaling import cells as tables
from whyjax.scaling.cells import Cell
from whyjax.scaling.estimate import Refusal, number

FEWEST = 4  # doses that a curve of four parameters needs


def doses(cells: Sequence[Cell], arms: Sequence[str]) -> list[list[Cell]]:
  """The cells of arms by dose, smallest first; those without alignment tokens, of any arm, are the
  dose of 0."""
  found: list[list[Cell]] = []
  for arm in arms:
    own = [c for c in cells if c.arm == arm and c.alignment_tokens]
    for level in tables.levels(own, tables.SAME_DOSE, 'alignment_tokens'):
      same = [g for g in found if _apart(g, level) <= tables.SAME_DOSE and g[-1].arm != arm]
      if same:
        min(same, key=lambda g: _apart(g, level)).extend(level)
      else:
        found.append(level)
  none = [c for c in cells if c.alignment_tokens == 0]
  return [none] * bool(none) + sorted(found, key=tokens)


def _apart(group: Sequence[Cell], other: Sequence[Cell]) -> float:
  """The factor between two doses."""
  return float(np.exp(abs(np.log(tokens(group) / tokens(other)))))


def tokens(group: Sequence[Cell]) -> float:
  """The dose of a group of cells; 0 for none."""
  counts = np.array([c.alignment_tokens for c in group], float)
  return 0.0 if counts.min() == 0 else float(np.exp(np.log(counts).mean()))


def worlds(group: Sequence[Cell]) -> set[int]:
  """Those that have every arm of a dose."""
  by_arm: dict[str, set[int]] = {}
  for cell in group:
    by_arm.setdefault(cell.arm * bool(cell.alignment_tokens), set()).add(cell.world)
  return set.intersection(*by_arm.values())


def table(
  cells: Sequence[Cell], arms: Sequence[str], least: int
) -> tuple[list[Cell], tuple[Refusal, ...]]:
  """The cells of one place that are left, and what was left out; none where no dose has so many
  worlds.

  Args:
    arms: whose cells are wanted, at a dose of both in the same worlds.
    least: worlds that are needed.
  """
  aligned = {c.world for c in cells if c.arm in arms and c.alignment_tokens}
  cells = sorted(cells, key=lambda c: (c.alignment_tokens, c.arm, c.replica))
  groups = doses([c for c in cells if c.world in aligned], arms)
  own = [worlds(group) for group in groups]
  weights = [len({c.arm * bool(c.alignment_tokens) for c in group}) for group in groups]
  kept, common = _most(own, weights, least)
  if not kept:
    return [], ()
  left_out = []
  for i, group in enumerate(groups):
    if i not in kept:
      why = f'left out: missing in {_named(common - own[i])}'
      left_out.append(Refusal(f'rate at A = {number(tokens(group))}', why))
  if gone := set.union(*own) - common:
    left_out.append(Refusal(_named(gone), 'left out: doses are missing there'))
  return [c for i in kept for c in groups[i] if c.world in common], tuple(left_out)


def _named(worlds: set[int]) -> str:
  return f'world{"s" * (len(worlds) > 1)} {", ".join(map(str, sorted(worlds)))}'


def _most(
  own: Sequence[set[int]], weights: Sequence[int], least: int
) -> tuple[list[int], set[int]]:
  """(doses, the worlds that have them all) with the most cells, of those with doses enough if there
  are any: from each dose on, the next is that which costs the fewest worlds."""
  best, found = (False, 0, 0), ([], set())
  for first in range(len(own)):
    kept, common = [first], own[first]
    while len(common) >= least:
      size = len(kept) >= FEWEST, sum(weights[i] for i in kept) * len(common), len(kept)
      if size > best:
        best, found = size, (sorted(kept), common)
      rest = [i for i in range(len(own)) if i not in kept]
      if not rest:
        break
      kept = [*kept, max(rest, key=lambda i: len(own[i] & common))]
      common = common & own[kept[-1]]
  return found
