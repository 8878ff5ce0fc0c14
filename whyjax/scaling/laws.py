"""All laws that a table of cells allows, and what it does not, with the reasons; as records and as
text.

  table = cells.from_rows(rows)
  found = laws.find(table, pairs=[('reason', 'demonstrations')])
  print(text.text(found))

The largest cells are held out, predicted, and only then compared (`forecast`); with `keep` the
forecast is written before they are looked at, and a later call compares with the one that was
written.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from pathlib import Path
from typing import Any

from whyjax.errors import UserError
from whyjax.scaling import bootstrap, complete, dose_law, forecast, isoflop, loss_law, ratio, slope
from whyjax.scaling import cells as tables
from whyjax.scaling.bootstrap import Draws
from whyjax.scaling.cells import Table
from whyjax.scaling.dose_law import DoseLaw
from whyjax.scaling.estimate import Estimate, Finding, Refusal, number
from whyjax.scaling.forecast import Compared, Forecast, Place
from whyjax.scaling.isoflop import IsoFlop
from whyjax.scaling.loss_law import LossLaw
from whyjax.scaling.ratio import Advantage, Ratio
from whyjax.scaling.settings import Settings

Pair = tuple[str, str]  # treatment, control


@dataclasses.dataclass(frozen=True)
class Laws:
  """What was found.

  Attributes:
    about: what the rates are of, such as a battery and a scoring.
    gaps: cells left out, cells that some worlds lack, sizes that a slope is without, and what to
      know of a forecast that was kept.
    loss: the law of all cells; the forecast has one of its own.
    doses: of every arm at every place.
    ratios, advantages: of every pair at every place.
    slopes: of the log ratios in log N, by pair.
    advantage_slopes: in log N at the largest dose, by pair; in log A, by pair and place.
    draws: by which rates were resampled; None without rates of enough worlds.
  """

  about: str
  settings: Settings
  table: Table
  gaps: tuple[str, ...]
  loss: LossLaw
  isoflop: IsoFlop
  forecast: Forecast
  compared: tuple[Compared, ...]
  doses: tuple[DoseLaw, ...]
  ratios: tuple[Ratio, ...]
  slopes: Mapping[Pair, Finding]
  advantages: tuple[Advantage, ...]
  advantage_slopes: Mapping[tuple, Finding]
  draws: Draws | None


def find(
  table: Table,
  pairs: Iterable[Pair] = (),
  settings: Settings | None = None,
  about: str = '',
  planned: Sequence[Place] = (),
  keep: Path | None = None,
) -> Laws:
  """All laws of a table.

  Args:
    pairs: arms to compare, treatment and control.
    planned: cells to predict; none: those of the largest compute at hand, which are held out.
    keep: where the forecast is kept, or was.

  Raises:
    UserError: pairs or planned cells are none, or the forecast can't be kept or read, or is of
      other cells than the planned.
  """
  settings = settings or Settings()
  pairs, planned = _checked(pairs), forecast.checked(planned)
  losses, rates = table.losses, table.rates
  made, stale = _forecast(losses, planned, keep, settings)
  compared = forecast.compare(made, losses)
  drawn = None
  if len({c.world for c in rates}) >= settings.least_worlds:
    drawn = bootstrap.draws(rates, settings)
  doses = _dose_laws(rates, drawn, settings)
  *found, without = _pairs(rates, doses, pairs, drawn, settings)
  return Laws(
    about,
    settings,
    table,
    (*table.left_out, *tables.missing(losses), *tables.missing(rates), *without, *stale),
    loss_law.fit(losses, settings),
    isoflop.fit(losses, settings),
    made,
    tuple(compared),
    tuple(doses.values()),
    *found,
    drawn,
  )


def _checked(pairs: Iterable[Pair]) -> list[Pair]:
  pairs = list(pairs)
  for pair in pairs:
    names = isinstance(pair, tuple | list) and all(isinstance(arm, str) for arm in pair)
    if not names or len(pair) != 2 or pair[0] == pair[1]:
      raise UserError(f'pairs: {pair!r}: must be the names of two arms, treatment and control')
  return list(dict.fromkeys(tuple(pair) for pair in pairs))


def _forecast(losses, planned, keep: Path | None, settings: Settings) -> tuple[Forecast, list[str]]:
  """The forecast that was kept, and what to know of it; or a new one, kept where it is wanted and
  predicts anything."""
  if keep and not Path(keep).absolute().parent.is_dir():
    raise UserError(f'keep = {keep}: its folder is not there')
  if keep and Path(keep).exists():
    made = forecast.read(keep)
    if planned and {p[:2] for p in planned} != {p[:2] for p in made.places}:
      kept = '; '.join(tables.place(p[:2]) for p in made.places)
      raise UserError(f'keep = {keep}: is a forecast of {kept}: other cells than those planned')
    return made, forecast.stale(made, losses, planned, settings)
  if planned:
    wanted = planned
    seen = [c for c in losses if c.place not in {p[:2] for p in wanted}]
  else:
    seen, largest = forecast.split(losses, settings)
    wanted = forecast.places(largest)
  made = forecast.forecast(seen, wanted, settings)
  if keep and any(isinstance(f, Estimate) for f in made.findings):
    forecast.write(made, keep)
  return made, []


def _dose_laws(rates, drawn: Draws | None, settings: Settings) -> dict[tuple, DoseLaw]:
  """By place and arm."""
  found = {}
  for place, own in tables.groups(rates, lambda c: c.place).items():
    for arm in sorted({c.arm for c in own if c.alignment_tokens}):
      found[place, arm] = _dose_law(own, arm, drawn, settings)
  return found


def _dose_law(cells, arm: str, drawn: Draws | None, settings: Settings) -> DoseLaw:
  """Of the cells of one place."""
  usable = [c for c in cells if c.arm == arm or c.alignment_tokens == 0]
  return dose_law.fit(usable, arm, drawn, settings)


def _pair(pair: Pair, own, drawn: Draws, settings: Settings) -> tuple[Ratio, list[Advantage]]:
  """(the ratio at a place, advantages in the same worlds at every dose), of the cells that are
  there in the worlds of both arms."""
  kept, left_out = complete.table(own, pair, settings.least_worlds)
  if not set(pair) <= {c.taught for c in kept}:
    why = f'no {settings.least_worlds} worlds that have doses of both'
    refusal = Refusal(f'{" / ".join(pair)}, {tables.place(own[0].place)}', why)
    return Ratio(own[0].place, *pair, 0, refusal), []
  laws = [_dose_law(kept, arm, drawn, settings) for arm in pair]
  found = dataclasses.replace(ratio.ratio(*laws, drawn, settings), left_out=left_out)
  return found, ratio.advantages(kept, pair, drawn, settings)


def _pairs(rates, doses, pairs: Sequence[Pair], drawn: Draws | None, settings: Settings):
  """(ratios, slopes, advantages, advantage_slopes) of Laws, and sizes that the last are without."""
  ratios, slopes, advantages, advantage_slopes, without = [], {}, [], {}, []
  for pair in pairs:
    title = ' / '.join(pair)
    own, largest = [], []
    for place in sorted({place for place, _ in doses}):
      cells = [c for c in rates if c.place == place]
      absent = [arm for arm in pair if (place, arm) not in doses]
      if absent or drawn is None:
        why = f'no rates of {" and ".join(absent)}'
        if not absent:
          why = doses[place, pair[0]].findings['midpoint'].why
        own.append(Ratio(place, *pair, 0, Refusal(f'{title}, {tables.place(place)}', why)))
        what = f'advantage of {title}, {tables.place(place)}'
        advantage_slopes[pair, place] = Refusal(what, why)
        continue
      found, alike = _pair(pair, cells, drawn, settings)
      own.append(found)
      what = f'advantage of {title}, {tables.place(place)}'
      advantage_slopes[pair, place] = slope.by_dose(alike, what, drawn)
      if better := ratio.advantages(cells, pair, drawn, settings):
        advantages += better
        largest.append(better[-1])
    ratios += own
    slopes[pair] = slope.by_size(
      [r for r in own if r.samples is not None], f'log10 ratio of {title}', drawn
    )
    top = max((a.dose for a in largest), default=0)  # a smaller one is no largest dose
    alike = [a for a in largest if top / a.dose <= tables.SAME_DOSE]
    advantage_slopes[pair, None] = slope.by_size(alike, f'advantage of {title}', drawn)
    if short := [tables.place(a.place) for a in largest if a not in alike]:
      lack = f'{"; ".join(short)}: no dose of A = {number(top)}'
      without.append(f'advantage of {title} at the largest dose, without {lack}')
  return tuple(ratios), slopes, tuple(advantages), advantage_slopes, without


def records(found: Laws) -> list[dict[str, Any]]:
  """Every finding, flat: `law`, `what`, `value`, `low`, `high` (null where refused), `why`."""
  lines = []

  def add(law, what, finding):
    ends = {name: getattr(finding, name, None) for name in ('value', 'low', 'high', 'why')}
    lines.append({'law': law, 'what': what} | ends | {'why': ends['why'] or ''})

  for name, finding in found.loss.findings.items():
    add(found.loss.formula, name, finding)
  for level in found.isoflop.levels:
    add('isoFLOP', f'N_opt at {level.compute:.4g} FLOPs', level.best)
  add('isoFLOP', isoflop.EXPONENT, found.isoflop.exponent)
  for place, finding in zip(found.forecast.places, found.forecast.findings, strict=True):
    add('forecast', f'loss at {tables.place(place[:2])}', finding)
  for c in found.compared:
    add('forecast', f'error at {tables.place(c.place[:2])}', c.error)
  for law in found.doses:
    at = f'{law.arm}, {tables.place(law.place)}'
    for name, finding in law.findings.items():
      add('dose', f'{at}: {name}', finding)
    for dose, finding in zip(law.doses, law.rates, strict=True):
      add('dose', f'{at}: rate at A = {number(dose)}', finding)
    for refusal in law.left_out:
      add('dose', f'{at}: {refusal.what}', refusal)
  for r in found.ratios:
    what = f'log10 {r.treatment} / {r.control}, {tables.place(r.place)}'
    add('ratio', what, r.log_ratio)
    for refusal in r.left_out:
      add('ratio', f'{what}: {refusal.what}', refusal)
  for pair, finding in found.slopes.items():
    add('ratio', f'log10 {" / ".join(pair)}: slope in log10 N', finding)
  for a in found.advantages:
    at = f'{tables.place(a.place)}, A = {number(a.dose)}'
    add('advantage', f'{a.treatment} less {a.control}, {at}', a.difference)
  for (pair, place), finding in found.advantage_slopes.items():
    at = f', {tables.place(place)}: slope in log10 A' if place else ': slope in log10 N'
    add('advantage', f'{" less ".join(pair)}{at}', finding)
  return lines
