"""All laws that a table of cells allows, and what it does not, with the reasons; as records and as
text.

  table = cells.from_rows(rows)
  found = laws.find(table, pairs=[('reason', 'demonstrations')])
  print(laws.text(found))

The largest cells are held out, predicted, and only then compared (`forecast`); with `keep` the
forecast is written before they are looked at, and a later call compares with the one that was
written.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from pathlib import Path
from typing import Any

from whyjax.scaling import bootstrap, dose_law, forecast, isoflop, loss_law, ratio
from whyjax.scaling import cells as tables
from whyjax.scaling.bootstrap import Draws
from whyjax.scaling.cells import Table
from whyjax.scaling.dose_law import DoseLaw
from whyjax.scaling.estimate import Finding, Refusal, number
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
    gaps: cells left out, and cells that some worlds lack.
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
  """
  settings = settings or Settings()
  losses, rates = table.losses, table.rates
  made = _forecast(losses, planned, keep, settings)
  compared = forecast.compare(made, losses)
  drawn = None
  if len({c.world for c in rates}) >= settings.least_worlds:
    drawn = bootstrap.draws(rates, settings)
  doses = _dose_laws(rates, drawn, settings)
  found = _pairs(doses, list(pairs), drawn, settings)
  return Laws(
    about,
    settings,
    table,
    (*table.left_out, *tables.missing(losses), *tables.missing(c for c in rates if c.arm)),
    loss_law.fit(losses, settings),
    isoflop.fit(losses, settings),
    made,
    tuple(compared),
    tuple(doses.values()),
    *found,
    drawn,
  )


def _forecast(losses, planned, keep: Path | None, settings: Settings) -> Forecast:
  """The forecast that was kept, or a new one, kept where it is wanted."""
  if keep and Path(keep).exists():
    return forecast.read(keep)
  if planned:
    wanted = list(planned)
    seen = [c for c in losses if c.place not in {p[:2] for p in wanted}]
  else:
    seen, largest = forecast.split(losses, settings)
    wanted = forecast.places(largest)
  made = forecast.forecast(seen, wanted, settings)
  if keep:
    forecast.write(made, keep)
  return made


def _dose_laws(rates, drawn: Draws | None, settings: Settings) -> dict[tuple, DoseLaw]:
  """By place and arm."""
  found = {}
  for place, own in tables.groups(rates, lambda c: c.place).items():
    for arm in sorted({c.arm for c in own if c.arm and c.alignment_tokens}):
      usable = [c for c in own if c.arm == arm or c.alignment_tokens == 0]
      found[place, arm] = dose_law.fit(usable, arm, drawn, settings)
  return found


def _pairs(doses, pairs: Sequence[Pair], drawn: Draws | None, settings: Settings):
  """(ratios, slopes, advantages, advantage_slopes) of Laws."""
  ratios, slopes, advantages, advantage_slopes = [], {}, [], {}
  places = sorted({place for place, _ in doses})
  for pair in pairs:
    own, largest = [], {}
    title = ' / '.join(pair)
    for place in places:
      laws = [doses.get((place, arm)) for arm in pair]
      what = f'{title}, {tables.place(place)}'
      if None in laws or drawn is None:
        absent = [arm for arm, law in zip(pair, laws, strict=True) if law is None]
        why = f'no rates of {" and ".join(absent)}' if absent else laws[0].findings['midpoint'].why
        own.append(Ratio(place, *pair, Refusal(what, why)))
        continue
      own.append(ratio.ratio(*laws, drawn, settings))
      if better := ratio.advantages(*laws, drawn):
        advantages += better
        largest[place] = better[-1].samples
        advantage_slopes[pair, place] = ratio.by_dose(better, f'advantage of {what}', drawn)
    ratios += own
    standing = {r.place: r.samples for r in own if r.samples is not None}
    slopes[pair] = ratio.by_size(standing, f'log10 ratio of {title}', drawn)
    advantage_slopes[pair, None] = ratio.by_size(largest, f'advantage of {title}', drawn)
  return tuple(ratios), slopes, tuple(advantages), advantage_slopes


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
  for r in found.ratios:
    add('ratio', f'log10 {r.treatment} / {r.control}, {tables.place(r.place)}', r.log_ratio)
  for pair, finding in found.slopes.items():
    add('ratio', f'log10 {" / ".join(pair)}: slope in log10 N', finding)
  for a in found.advantages:
    at = f'{tables.place(a.place)}, A = {number(a.dose)}'
    add('advantage', f'{a.treatment} less {a.control}, {at}', a.difference)
  for (pair, place), finding in found.advantage_slopes.items():
    at = f', {tables.place(place)}: slope in log10 A' if place else ': slope in log10 N'
    add('advantage', f'{" less ".join(pair)}{at}', finding)
  return lines
