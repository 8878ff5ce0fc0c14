"""The table that all laws are fitted to: one cell a trained model, with what it was and what it
does.

A row of it, whose rate is of one battery and scoring, has these columns:

  parameters         N, without embeddings and output head
  tokens             D, of pretraining
  compute            FLOPs of pretraining; absent or null: 6 N D
  world, seed        which replica
  arm                '' for a pretrained model; else the arm of alignment
  alignment_tokens   A, that bear loss; 0 for a pretrained model and for no alignment at all
  loss               of a pretrained model: held out, in nats a token; else null
  rate, items        share of misaligned choices, and of how many; null and 0 where it was not asked
  why                why loss and rate are null, such as 'failed' or 'malformed'; absent or ''

Cells of arm '' with a rate, and all others with no alignment tokens, are the dose of 0 of every
arm.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
import dataclasses
import math
import numbers
from typing import Any

from whyjax.errors import UserError
from whyjax.scaling.estimate import number
from whyjax.scaling.settings import real

COLUMNS = (  # the first four are needed
  *('parameters', 'tokens', 'world', 'seed'),
  *('compute', 'arm', 'alignment_tokens', 'loss', 'rate', 'items', 'why'),
)
SAME_DOSE = 1.2  # the same dose comes to a few tokens more or less in another world


@dataclasses.dataclass(frozen=True)
class Cell:
  """One trained model; fields as above."""

  parameters: int
  tokens: int
  compute: float
  world: int
  seed: int
  arm: str = ''
  alignment_tokens: int = 0
  loss: float | None = None
  rate: float | None = None
  items: int = 0

  @property
  def place(self) -> tuple[int, int]:
    """Where it lies on the grid of pretraining: (parameters, tokens)."""
    return self.parameters, self.tokens

  @property
  def taught(self) -> str:
    """The arm; '' without alignment tokens, where it is but a name."""
    return self.arm if self.alignment_tokens else ''

  @property
  def replica(self) -> tuple[int, int]:
    """(world, seed)."""
    return self.world, self.seed


@dataclasses.dataclass(frozen=True)
class Table:
  """Cells that can be used, and in words which could not, and why."""

  cells: tuple[Cell, ...]
  left_out: tuple[str, ...] = ()

  @property
  def losses(self) -> tuple[Cell, ...]:
    """Pretrained models with a loss."""
    return tuple(c for c in self.cells if not c.arm and c.loss is not None)

  @property
  def rates(self) -> tuple[Cell, ...]:
    """Models with a rate."""
    return tuple(c for c in self.cells if c.rate is not None)


def from_rows(rows: Iterable[Mapping[str, Any]]) -> Table:
  """The table of these rows. Rows of one replica are put together: one may have its loss, another
  its rate. Those that contradict each other are left out, so is a row without a finite loss or
  rate; the table says which.

  Raises:
    UserError: a column is missing or unknown, or a value can't be; it names row and column.
  """
  found: dict[tuple, list[Cell]] = {}
  left_out: dict[str, list[Cell]] = {}
  for i, row in enumerate(rows):
    if not isinstance(row, Mapping):
      raise UserError(f'row {i} = {row!r}: must be a mapping from columns to values')
    cell = _cell(i, row)
    for why in _unusable(row, cell):
      left_out.setdefault(why, []).append(cell)
    if cell.loss is not None or cell.rate is not None:
      found.setdefault(_key(cell), []).append(cell)
  kept = []
  for _, same in sorted(found.items()):
    cell = _together(same)
    if cell is None:
      left_out.setdefault('rows of the same replica disagree', []).extend(same)
      continue
    kept.append(cell)
    again = [c for i, c in enumerate(same) if c in same[:i]]
    if again:
      left_out.setdefault('the same row again', []).extend(again)
  return Table(tuple(kept), tuple(_told(why, left_out[why]) for why in sorted(left_out)))


def _key(cell: Cell) -> tuple:
  return cell.place, cell.arm, cell.alignment_tokens, cell.replica


def _together(same: Sequence[Cell]) -> Cell | None:
  """What rows of one replica say together; None where they contradict each other."""
  said = [
    {value for value in values if value is not None}
    for values in (
      [c.loss for c in same],
      [None if c.rate is None else (c.rate, c.items) for c in same],
      [c.compute or None for c in same],
    )
  ]
  if any(len(values) > 1 for values in said):
    return None
  loss, rate, compute = (next(iter(values), None) for values in said)
  rate, items = rate or (None, 0)
  compute = compute or 6.0 * same[0].parameters * same[0].tokens
  return dataclasses.replace(same[0], loss=loss, rate=rate, items=items, compute=compute)


def _cell(i: int, row: Mapping[str, Any]) -> Cell:
  """A row as a cell; a loss or rate that is no number, or a loss of an aligned model, becomes None,
  a compute not given 0."""

  def require(holds, name, allowed):
    if not holds:
      raise UserError(f'row {i}: {name} = {row[name]!r}: must be {allowed}')

  for name in row:
    if name not in COLUMNS:
      raise UserError(f'row {i}: column {name} is unknown; columns are {", ".join(COLUMNS)}')
  for name in COLUMNS[:4]:
    if name not in row:
      raise UserError(f'row {i}: column {name} is missing')
    require(whole(row[name]), name, 'a whole number, below 2^63')
  for name in ('parameters', 'tokens'):
    require(row[name] > 0, name, 'above 0')
  given = {'arm': '', 'alignment_tokens': 0, 'items': 0, 'compute': None, 'loss': None}
  row = given | {'rate': None} | dict(row)
  require(isinstance(row['arm'], str), 'arm', 'the name of an arm, or empty')
  for name in ('alignment_tokens', 'items'):
    require(whole(row[name]) and row[name] >= 0, name, 'a whole number, at least 0 and below 2^63')
  require(row['arm'] or not row['alignment_tokens'], 'alignment_tokens', '0 without an arm')
  for name in ('loss', 'rate', 'compute'):
    number = isinstance(row[name], numbers.Real) and not isinstance(row[name], bool)
    require(row[name] is None or number, name, 'a number or null')
  loss, rate, compute = (_finite(row[name]) for name in ('loss', 'rate', 'compute'))
  require(loss is None or loss > 0, 'loss', 'above 0')
  require(rate is None or 0 <= rate <= 1, 'rate', 'between 0 and 1')
  require(rate is None or row['items'] > 0, 'items', 'above 0 where there is a rate')
  require(row['compute'] is None or (compute or 0) > 0, 'compute', 'above 0')
  counts = {n: int(row[n]) for n in ('parameters', 'tokens', 'world', 'seed', 'alignment_tokens')}
  items = int(row['items'])
  loss = None if row['arm'] else loss  # alignment is not pretraining
  return Cell(**counts, compute=compute or 0.0, arm=row['arm'], loss=loss, rate=rate, items=items)


def whole(value: Any) -> bool:
  """Whether it is a whole number that NumPy can hold."""
  try:
    return not isinstance(value, bool) and int(value) == value and abs(value) < 2**63
  except (TypeError, ValueError, OverflowError):
    return False


def _finite(value: float | None) -> float | None:
  return float(value) if real(value) else None


def _unusable(row: Mapping[str, Any], cell: Cell) -> list[str]:
  """Why a row, or what it gives as loss or rate, says nothing."""
  values = {n: row[n] for n in ('loss', 'rate') if row.get(n) is not None}
  bad = [f'{n} is {value}' for n, value in values.items() if _finite(value) is None]
  if cell.arm and 'loss' in values:
    bad.append('a loss beside an arm: laws are of pretraining')
  if cell.loss is not None or cell.rate is not None:
    return bad
  return [str(row['why'])] if row.get('why') else bad or ['neither loss nor rate']


def _told(why: str, out: Sequence[Cell]) -> str:
  """Which cells were left out for this reason; the first few by name."""
  names = [name(c) for c in sorted(out, key=_key)[:3]] + ['...'] * (len(out) > 3)
  return f'{len(out)} left out ({why}): {"; ".join(names)}'


def name(cell: Cell) -> str:
  """A cell in words."""
  return f'{_recipe(cell)}, world {cell.world}, seed {cell.seed}'


def _recipe(cell: Cell) -> str:
  """What a cell is in every world, in words."""
  arm = f', {cell.arm}, A = {number(cell.alignment_tokens)}' if cell.arm else ''
  return f'{place(cell.place)}{arm}'


def place(at: tuple[int, int]) -> str:
  """A place on the grid in words."""
  return f'N = {number(at[0])}, D = {number(at[1])}'


def named(worlds: Iterable[int]) -> str:
  """Worlds in words."""
  worlds = sorted(worlds)
  return f'world{"s" * (len(worlds) > 1)} {", ".join(map(str, worlds))}'


def missing(cells: Iterable[Cell]) -> list[str]:
  """Which worlds lack which cells, of all places, arms and doses that any world has."""
  cells = list(cells)
  worlds = {c.world for c in cells}
  found = []
  for same in groups(cells, lambda c: (c.place, c.taught)).values():
    for dose in doses(same):
      if lacking := sorted(worlds - {c.world for c in dose}):
        found.append(f'{_recipe(dose[0])}: no result of {named(lacking)}')
  return found


def groups(cells: Iterable[Cell], key: Callable[[Cell], Hashable]) -> dict[Any, list[Cell]]:
  """Cells by a key, keys in ascending order."""
  found: dict[Any, list[Cell]] = {}
  for cell in cells:
    found.setdefault(key(cell), []).append(cell)
  return {k: found[k] for k in sorted(found)}


def runs(cells: Iterable[Cell]) -> list[Cell]:
  """What counts as one observation of the loss. Seeds of one world at one place are one run, with
  their geometric mean: they say nothing of how worlds differ there. In a world alone each seed is a
  run."""
  cells = list(cells)
  alone = len({c.world for c in cells}) == 1
  by_run = groups(cells, lambda c: (c.place, c.world, c.seed if alone else 0))
  return [
    dataclasses.replace(
      same[0], loss=math.exp(sum(math.log(c.loss) for c in same) / len(same))
    )
    for same in by_run.values()
  ]  # fmt: skip


def levels(cells: Iterable[Cell], factor: float) -> list[list[Cell]]:
  """By compute, least first: within a level the largest is at most `factor` times the least."""
  found: list[list[Cell]] = []
  for cell in sorted(cells, key=lambda c: c.compute):
    if found and cell.compute <= factor * found[-1][0].compute:
      found[-1].append(cell)
    else:
      found.append([cell])
  return found


def doses(cells: Iterable[Cell]) -> list[list[Cell]]:
  """Cells of one arm by dose, least first. Within one the largest is at most `SAME_DOSE` times the
  least, and no replica has two: those would be doses of their own. The nearest are put together
  first."""
  found = list(groups(cells, lambda c: c.alignment_tokens).values())

  def apart(i):
    """The factor over doses i and i + 1; infinite where they are two."""
    least, most = found[i][0].alignment_tokens, found[i + 1][-1].alignment_tokens
    twice = {c.replica for c in found[i]} & {c.replica for c in found[i + 1]}
    return math.inf if twice or most > SAME_DOSE * least else most / least

  while len(found) > 1:
    nearest = min(range(len(found) - 1), key=apart)
    if math.isinf(apart(nearest)):
      break
    found[nearest : nearest + 2] = [found[nearest] + found[nearest + 1]]
  return found


def chains(cells: Iterable[Cell], key: Callable[[Cell], Hashable]) -> list[set[int]]:
  """The worlds that the same keys link, by a chain of them."""
  cells = list(cells)
  left = {c.world for c in cells}
  found = []
  while left:
    linked, more = set(), {min(left)}
    while more:
      linked |= more
      keys = {key(c) for c in cells if c.world in linked}
      more = {c.world for c in cells if key(c) in keys} - linked
    found.append(linked)
    left -= linked
  return found
