"""Predictions of the loss of cells that the law has not seen, and what became of them.

The test of a law is the largest cells: they are held out, predicted with an interval, the forecast
is kept, and only then compared. `forecast` is given what the held-out cells are, not what they came
to; `write` never overwrites.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from whyjax.errors import UserError
from whyjax.scaling import cells as tables
from whyjax.scaling import loss_law
from whyjax.scaling.cells import Cell
from whyjax.scaling.estimate import Estimate, Finding, Refusal, number, of_samples
from whyjax.scaling.loss_law import AXES, SIGNS, LossLaw
from whyjax.scaling.settings import Settings, real


class Place(NamedTuple):
  """What a cell is, without what it came to."""

  parameters: int
  tokens: int
  compute: float


@dataclasses.dataclass(frozen=True)
class Forecast:
  """Predictions, made from some cells.

  Attributes:
    formula: of the law.
    confidence: of the intervals.
    seen: hash of the cells that the law was fitted to.
    levels: log level of each of their worlds.
    places, findings: the predicted cells, and for each the loss, mean over those worlds, with its
      prediction interval.
  """

  formula: str
  confidence: float
  seen: str
  levels: Mapping[int, float]
  places: tuple[Place, ...]
  findings: tuple[Finding, ...]


@dataclasses.dataclass(frozen=True)
class Compared:
  """A prediction and what became of it.

  Attributes:
    error: how far the observed loss, mean over worlds, lies above the predicted, as a share of it;
      the interval holds 0 where the observed loss is in the prediction interval, which is wider
      where not all worlds of the forecast were observed.
    worlds: how many were observed.
  """

  place: Place
  predicted: Estimate
  error: Finding
  worlds: int


def predict(law: LossLaw, places: Sequence[Place], settings: Settings) -> list[Finding]:
  """The loss of new cells, mean over the worlds of the fit with a seed each, with a prediction
  interval; refused where the law fails or would have to reach too far."""
  refused = law.fails or ('' if law.fit else 'there is no law')
  if refused:
    return [Refusal(tables.place(p[:2]), f'not predicted: {refused}') for p in places]
  columns = [AXES.index(axis) for axis in law.fit.axes]
  value, samples = law.fit.log_loss(np.array([[p[i] for i in columns] for p in places], float))
  samples = samples + _noise(law.fit, samples.shape, settings)
  found: list[Finding] = []
  for i, place in enumerate(places):
    if why := _too_far(law, place, settings.reach):
      found.append(Refusal(tables.place(place[:2]), f'not predicted: {why}'))
    else:
      found.append(of_samples(np.exp(value[i]), np.exp(samples[:, i]), settings.confidence))
  return found


def _noise(fit: loss_law.Fit, shape: tuple[int, int], settings: Settings) -> np.ndarray:
  """How far a new cell, mean over the worlds, lies from the law: as residuals do, made wider."""
  rng = np.random.default_rng([settings.seed, 1])
  return fit.wide * rng.choice(fit.residuals, (*shape, len(fit.levels))).mean(axis=-1)


def _too_far(law: LossLaw, place: Place, reach: float) -> str:
  """Which of parameters, tokens and compute lies too far out; '' if none does."""
  for i, axis in enumerate((*AXES, 'compute')):
    values = [getattr(c, axis) for c in law.cells]
    beyond = max(place[i] / max(values), min(values) / place[i])
    if beyond > reach:
      return (
        f'{SIGNS[axis]} = {number(place[i])} is {number(beyond, 2)} times beyond the cells of the '
        f'fit ({number(min(values))} to {number(max(values))}); predictions reach {reach:g} times'
      )
    if i < len(AXES) and axis not in law.fit.axes and place[i] != values[0]:
      return f'the law is of {SIGNS[axis]} = {number(values[0], 7)} alone'
  return ''


def split(cells: Sequence[Cell], settings: Settings) -> tuple[list[Cell], list[Cell]]:
  """(the cells to fit, those of the largest levels of compute); a place is held out in whole."""
  levels = tables.levels(places(cells), settings.same_compute)
  largest = {p[:2] for level in levels[-settings.held_out :] for p in level}
  return [c for c in cells if c.place not in largest], [c for c in cells if c.place in largest]


def places(cells: Sequence[Cell]) -> list[Place]:
  """What these cells are, each once."""
  found = tables.groups(cells, lambda c: c.place)
  return [Place(*at, float(np.mean([c.compute for c in same]))) for at, same in found.items()]


def checked(planned: Iterable[Sequence[float]]) -> list[Place]:
  """The places, each once, if they can be.

  Raises:
    UserError: one can't, or is there with two values of compute.
  """
  found: dict[tuple[int, int], Place] = {}
  for place in planned:
    given = place if isinstance(place, tuple | list) else ()
    if len(given) != len(Place._fields) or not all(real(v) and v > 0 for v in given):
      raise UserError(f'planned: {place!r}: parameters, tokens and compute must be numbers above 0')
    if not all(tables.whole(v) for v in given[:2]):
      raise UserError(f'planned: {place!r}: parameters and tokens must be whole numbers')
    own = Place(int(given[0]), int(given[1]), float(given[2]))
    if found.setdefault(own[:2], own) != own:
      raise UserError(f'planned: {tables.place(own[:2])}: is there twice, with different compute')
  return list(found.values())


def forecast(seen: Sequence[Cell], wanted: Sequence[Place], settings: Settings) -> Forecast:
  """Fits the cells seen and predicts the wanted ones.

  Raises:
    UserError: a wanted cell is among those seen.
  """
  known = {c.place for c in seen}
  for place in wanted:
    if place[:2] in known:
      raise UserError(f'{tables.place(place[:2])}: is in the fit; a forecast is of other cells')
  law = loss_law.fit(seen, settings, wanted)
  levels = dict(law.fit.levels) if law.fit else {}
  found = tuple(predict(law, wanted, settings))
  return Forecast(law.formula, settings.confidence, digest(seen), levels, tuple(wanted), found)


def stale(
  made: Forecast, cells: Sequence[Cell], planned: Sequence[Place], settings: Settings
) -> list[str]:
  """What a reader must know of a forecast that was kept, beside cells, planned cells and settings
  of today."""
  told = []
  predicted = {p[:2]: p.compute for p in made.places}
  if digest([c for c in cells if c.place not in predicted]) != made.seen:
    told.append('the forecast that was kept was made from other cells than these')
  if made.confidence != settings.confidence:
    told.append(f'the forecast that was kept has {made.confidence:.0%} intervals')
  for place in dict.fromkeys((*planned, *places(cells))):
    kept = predicted.get(place[:2], place.compute)
    if abs(np.log(place.compute / kept)) > np.log(settings.same_compute):
      told.append(
        f'{tables.place(place[:2])}: the forecast that was kept takes {number(kept)} FLOPs for it, '
        f'not {number(place.compute)}'
      )
  return told


def digest(cells: Sequence[Cell]) -> str:
  """A hash of what the loss is fitted to, whatever the order of cells."""
  lines = sorted(json.dumps([*c.place, c.compute, *c.replica, c.loss]) for c in cells)
  return hashlib.sha256('\n'.join(lines).encode()).hexdigest()


def compare(made: Forecast, cells: Sequence[Cell]) -> list[Compared]:
  """Each predicted cell beside what was observed of it, in the worlds that the forecast knows.

  Args:
    cells: pretrained models with a loss, the predicted ones among them.
  """
  found = []
  for place, predicted in zip(made.places, made.findings, strict=True):
    if isinstance(predicted, Refusal):
      continue
    same = [c for c in cells if c.place == place[:2] and c.world in made.levels]
    by_world = tables.groups(same, lambda c: c.world)
    if not by_world:
      why = 'no result in the worlds of the forecast'
      found.append(Compared(place, predicted, Refusal(tables.place(place[:2]), why), 0))
      continue
    # A world's own level is known from the cells seen, so that those at hand may be few; but the
    # noise of few is larger, by this at most.
    few = np.sqrt(len(made.levels) / len(by_world))
    logs = [np.mean(np.log([c.loss for c in own])) - made.levels[w] for w, own in by_world.items()]
    observed = float(np.exp(np.mean(logs)))
    high, low = (
      predicted.value * (end / predicted.value) ** few for end in (predicted.high, predicted.low)
    )
    error = Estimate(*(observed / p - 1 for p in (predicted.value, high, low)))
    found.append(Compared(place, predicted, error, len(by_world)))
  return found


def write(made: Forecast, path: Path) -> None:
  """Keeps a forecast as JSON.

  Raises:
    UserError: there is a forecast already, which is not overwritten; or it can't be written.
  """
  record = dataclasses.asdict(made)
  record['findings'] = [dataclasses.asdict(f) for f in made.findings]
  text = json.dumps(record, indent=1) + '\n'  # before there is a file, which a fault would leave
  try:
    with open(path, 'x', encoding='utf-8') as file:
      file.write(text)
  except FileExistsError as error:
    raise UserError(f'{path}: a forecast is there already, and is not overwritten') from error
  except OSError as error:
    raise UserError(f'{path}: cannot be written ({error.strerror})') from error


def read(path: Path) -> Forecast:
  """A forecast that was kept.

  Raises:
    UserError: it is not there, or is damaged.
  """
  try:
    record = json.loads(Path(path).read_text(encoding='utf-8'))
    findings = [Refusal(**f) if 'why' in f else Estimate(**f) for f in record.pop('findings')]
    record['levels'] = {int(world): float(own) for world, own in record['levels'].items()}
    record['places'] = tuple(checked(record['places']))
    made = Forecast(**record, findings=tuple(findings))
    if len(made.findings) != len(made.places):
      raise ValueError(f'{len(made.findings)} findings of {len(made.places)} places')
    if not (isinstance(made.formula, str) and isinstance(made.seen, str)):
      raise ValueError('formula and seen are texts')
    if not all(map(real, made.levels.values())):
      raise ValueError('levels are numbers')
    predicted = [f for f in made.findings if isinstance(f, Estimate)]
    if not all(f.low > 0 for f in predicted) or (predicted and not made.levels):
      raise ValueError('a loss is above 0, and of some world')
    Settings(confidence=made.confidence)
    return made
  except OSError as error:
    raise UserError(f'{path}: cannot be read ({error.strerror})') from error
  except RecursionError as error:
    raise UserError(f'{path}: is damaged (too deep)') from error
  except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(f'{path}: is damaged ({error})') from error
