"""Laws in words: every number with its interval, every refusal with its reason."""

from collections.abc import Iterator
import textwrap

from whyjax.scaling import cells as tables
from whyjax.scaling.estimate import Estimate, Refusal, factor, number, percent, say
from whyjax.scaling.laws import Laws

_WIDTH = 100


def text(found: Laws) -> str:
  """The report of all that was found and refused, as plain text."""
  lines = []
  for section in (_head, _loss, _sizes, _forecast, _doses, _ratios, _advantages):
    own = list(section(found))
    if own:
      lines += ['', *own]
  return '\n'.join(_wrapped(line) for line in lines[1:]) + '\n'


def _wrapped(line: str) -> str:
  indent = len(line) - len(line.lstrip())
  return textwrap.fill(
    line, _WIDTH, subsequent_indent=' ' * (indent + 4), break_on_hyphens=False,
    break_long_words=False, drop_whitespace=True,
  )  # fmt: skip


def _head(found: Laws) -> Iterator[str]:
  cells = found.table.cells
  worlds = len({c.world for c in cells})
  yield (
    f'Scaling laws{f" ({found.about})" if found.about else ""}: {len(found.table.losses)} losses '
    f'and {len(found.table.rates)} rates of {worlds} world{"s" * (worlds != 1)}. Brackets: '
    f'{found.settings.confidence:.0%} intervals.'
  )
  for gap in found.gaps:
    yield f'  {gap}'


def _loss(found: Laws) -> Iterator[str]:
  law = found.loss
  yield (
    'Held-out loss, nats a token: no law'
    if law.formula == 'none'
    else f'Held-out loss, nats a token: L = {law.formula} (N parameters, D tokens)'
  )
  refused: dict[str, list[str]] = {}
  for name, finding in law.findings.items():
    if isinstance(finding, Refusal):
      refused.setdefault(finding.why, []).append(name)
    else:
      label = 'g, of N_opt ~ C^g: b / (a + b)' if name == 'N_opt' else name
      yield f'  {label} = {say(finding)}'
  for why, names in refused.items():
    yield f'  {", ".join(names)}: not estimated ({why})'
  if law.fails:
    yield f'  No prediction: {law.fails}.'
  for note in law.notes:
    yield f'  Note: {note}.'


def _sizes(found: Laws) -> Iterator[str]:
  if not found.table.losses:
    return
  yield 'Best size for a compute C (isoFLOP)'
  for level in found.isoflop.levels:
    yield f'  N_opt at {level.compute:.3g} FLOPs = {say(level.best)}'
  yield f'  g, of N_opt ~ C^g = {say(found.isoflop.exponent)}'
  for note in found.isoflop.notes:
    yield f'  Note: {note}.'


def _forecast(found: Laws) -> Iterator[str]:
  made = found.forecast
  if not made.places:
    return
  by = 'no law' if made.formula == 'none' else f'by L = {made.formula}'
  yield f'Forecast of cells that the law has not seen: {by}'
  compared = {c.place: c for c in found.compared}
  for place, finding in zip(made.places, made.findings, strict=True):
    line = f'  {tables.place(place[:2])}: {say(finding)}'
    if place in compared:
      error = compared[place].error
      if isinstance(error, Estimate):
        verdict = 'inside' if error.holds(0) else 'OUTSIDE'
        line += f'; error {percent(error)}, {verdict} the interval'
      else:
        line += f'; {error.why}'
    yield line


def _doses(found: Laws) -> Iterator[str]:
  if not found.doses:
    return
  yield 'Misaligned share against alignment tokens A: floor, ceiling, midpoint, steepness'
  for law in found.doses:
    yield f'  {law.arm}, {tables.place(law.place)}'
    reasons = {f.why for f in law.findings.values() if isinstance(f, Refusal)}
    if len(reasons) == 1 and all(isinstance(f, Refusal) for f in law.findings.values()):
      yield f'    no curve: {reasons.pop()}'
    else:
      for name, finding in law.findings.items():
        yield f'    {name} = {say(finding)}'
    if law.fails:
      yield f'    No prediction: {law.fails}.'
    for left_out in law.left_out:
      yield f'    {left_out}'


def _ratios(found: Laws) -> Iterator[str]:
  if not found.ratios:
    return
  yield 'Alignment tokens that one arm needs over those that another needs, at a matched rate'
  for r in found.ratios:
    at = f' (at a rate of {say(r.matched)})' if isinstance(r.log_ratio, Estimate) else ''
    yield f'  {r.treatment} / {r.control}, {tables.place(r.place)}: {factor(r.log_ratio)}{at}'
    for left_out in r.left_out:
      yield f'    {left_out}'
  for pair, finding in found.slopes.items():
    yield f'  {" / ".join(pair)}, log10 of the ratio for every factor 10 of N: {say(finding)}'


def _advantages(found: Laws) -> Iterator[str]:
  if not found.doses or not found.advantage_slopes:
    return
  yield 'Misaligned share, one arm less another at equal doses (negative: the first does better)'
  for a in found.advantages:
    at = f'{tables.place(a.place)}, A = {number(a.dose)}'
    yield f'  {a.treatment} less {a.control}, {at}: {say(a.difference)}'
  for (pair, place), finding in found.advantage_slopes.items():
    per = f'{tables.place(place)}, for every factor 10 of A' if place else (
      'at the largest dose, for every factor 10 of N'
    )  # fmt: skip
    yield f'  {" less ".join(pair)}, {per}: {say(finding)}'
