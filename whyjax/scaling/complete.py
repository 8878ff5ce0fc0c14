"""Which doses and worlds of a place make a table without holes.

A mean over other worlds is another mean: a curve, and a comparison of two arms, is of the same
worlds at every dose. Where cells are missing, doses and worlds are left out, and told: as few cells
as can be, and no dose that a curve needs.
"""

from collections.abc import Sequence

import numpy as np

from whyjax.scaling import cells as tables
from whyjax.scaling.cells import Cell
from whyjax.scaling.estimate import Refusal, number

FEWEST = 4  # doses that a curve of four parameters needs
MOST_TRIED = 10_000  # sets of worlds; of some twelve doses all


def doses(cells: Sequence[Cell], arms: Sequence[str]) -> list[list[Cell]]:
  """The cells of arms by dose, smallest first; those without alignment tokens, of any arm, are the
  dose of 0."""
  found: list[list[Cell]] = []
  for arm in arms:
    own = [c for c in cells if c.taught == arm]
    for level in tables.doses(own):
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
    by_arm.setdefault(cell.taught, set()).add(cell.world)
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
  aligned = {c.world for c in cells if c.taught in arms}
  cells = sorted(cells, key=lambda c: (c.alignment_tokens, c.arm, c.replica))
  groups = doses([c for c in cells if c.world in aligned], arms)
  own = [worlds(group) for group in groups]
  has = [{c.arm for c in group} if tokens(group) else set(arms) for group in groups]
  kept, common = _most(own, has, arms, least)
  if not kept:
    return [], ()
  left_out = []
  for i, group in enumerate(groups):
    if i not in kept:
      why = f'left out: missing in {tables.named(common - own[i])}'
      left_out.append(Refusal(f'rate at A = {number(tokens(group))}', why))
  if gone := set.union(*own) - common:
    left_out.append(Refusal(tables.named(gone), 'left out: doses are missing there'))
  return [c for i in kept for c in groups[i] if c.world in common], tuple(left_out)


def _most(
  own: Sequence[set[int]], has: Sequence[set[str]], arms: Sequence[str], least: int
) -> tuple[list[int], frozenset[int]]:
  """(doses, the worlds that have them all): with doses enough for a curve of every arm if that can
  be, else with every arm, and then with the most cells.

  Args:
    own, has: worlds and arms of each dose.
  """
  commons: set[frozenset[int]] = set()
  for worlds in own:
    if len(commons) < MOST_TRIED:
      commons |= {c & worlds for c in commons}
    commons.add(frozenset(worlds))

  def gain(common):
    kept = [i for i, worlds in enumerate(own) if common <= worlds]
    fewest = min(sum(arm in has[i] for i in kept) for arm in arms)
    return fewest >= FEWEST, fewest > 0, sum(len(has[i]) for i in kept) * len(common), len(kept)

  usable = sorted((c for c in commons if len(c) >= least), key=sorted)
  if not usable:
    return [], frozenset()
  common = max(usable, key=gain)
  return [i for i, worlds in enumerate(own) if common <= worlds], common
