"""The laws of a scaling study as 'fit' records of its results file.

  L(N)   = E + A / N^a               at the budget that most sizes share
  L(N,D) = E + A / N^a + B / D^b     when at least three budgets are present

N counts parameters without embeddings and output head, D training tokens, L is in nats a token.
Method and intervals: `loss_law`.
"""

from collections.abc import Iterable, Mapping, Sequence

from whyjax.scaling import cells as tables
from whyjax.scaling import loss_law
from whyjax.scaling.estimate import Refusal
from whyjax.scaling.settings import Settings


def fit_records(records: Iterable[Mapping]) -> list[dict]:
  """The 'fit' records of a study from its 'stage' and 'loss' records; none when no stage is of a
  grid.

  A stage of a grid is named pretrain/SIZE/UPDATES. A law that the points don't determine, or that
  does not describe them, comes back with `parameters` null and the reason in `why`.
  """
  points = _points(list(records))
  if not points:
    return []
  budgets = {p['tokens'] for p in points}
  budget = max(
    budgets, key=lambda d: (len({p['parameters'] for p in points if p['tokens'] == d}), d)
  )
  fits = [_fit('E + A / N^a', [p for p in points if p['tokens'] == budget], ('parameters',))]
  if len(budgets) >= loss_law.FEWEST:
    fits.append(_fit('E + A / N^a + B / D^b', points, ('parameters', 'tokens')))
  return fits


def _points(records: Sequence[Mapping]) -> list[dict]:
  """One point for every held-out loss of a grid's stage: a cell of the grid in one world with one
  seed."""
  cells = {
    r['stage']: r
    for r in records
    if r['record'] == 'stage' and r['kind'] == 'pretrain' and r['stage'].count('/') == 2
  }
  return [
    {
      'size': r['stage'].split('/')[1],
      'parameters': cells[r['stage']]['parameters'],
      'tokens': cells[r['stage']]['tokens'],
      'world': r['world'],
      'seed': r['seed'],
      'loss': r['loss'],
    }
    for r in records
    if r['record'] == 'loss' and r['stage'] in cells
  ]


def _fit(formula: str, points: Sequence[Mapping], axes: tuple[str, ...]) -> dict:
  """One 'fit' record: the law's parameters with their intervals, or the reason why there are
  none."""
  settings = Settings()
  record = {
    'record': 'fit',
    'law': formula,
    'points': list(points),
    'worlds': sorted({p['world'] for p in points}),
    'confidence': settings.confidence,
    'parameters': None,
    'residual': None,
  }
  losses = tables.from_rows(points).losses
  if why := loss_law.too_few(losses, axes):
    return record | {'why': why}
  law = loss_law.fit_axes(losses, axes, settings)
  letters = 'EAaBb'[: 1 + 2 * len(axes)]
  refused = [f.why for f in law.findings.values() if isinstance(f, Refusal)]
  if why := law.fails or ''.join(refused[:1]):
    return record | {'residual': law.residual, 'why': why}
  parameters = {
    letter: {'value': found.value, 'low': found.low, 'high': found.high}
    for letter, found in ((letter, law.findings[letter]) for letter in letters)
  }
  return record | {'parameters': parameters, 'residual': law.residual, 'why': ''}
