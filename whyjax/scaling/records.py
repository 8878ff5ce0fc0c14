"""From records of a study to the table that laws are fitted to, and from laws to records."""

from collections.abc import Iterable, Mapping, Sequence
import hashlib
from pathlib import Path
from typing import Any

from whyjax import results
from whyjax.scaling import cells, forecast, laws
from whyjax.scaling.cells import Table
from whyjax.scaling.laws import Laws
from whyjax.scaling.settings import Settings

SCORINGS = ('greedy', 'forced')
World = tuple[int, int]  # agents, and domains of each kind
FORECASTS = 'forecasts'  # their folder in a workdir


def find(
  records: Sequence[Mapping[str, Any]], kept: Path | None = None
) -> dict[tuple[World, str], Laws]:
  """The laws of every size of the world and every scoring; none where no stage is of a grid.

  Args:
    kept: folder of forecasts: one that was made from the same cells, of the same, is taken as it
      was made; a new one is written there before the cells that it is of are looked at.
  """
  study = next(iter(results.select(records, record='study')), None)
  if study is None or 'what' not in study['config'].get('scaling', {}):  # of an earlier version
    return {}
  config = study['config']
  what = config['scaling']['what']
  pairs = [(arm, what) for arm in config['arms'] if arm != what]
  statistics = config['statistics']
  settings = Settings(confidence=statistics['confidence'])
  worlds = sorted(
    {(r['agents'], r['domains']) for r in results.select(records, record='loss') if 'agents' in r}
  )
  found = {}
  for world in worlds:
    for scoring in SCORINGS:
      table = cells.from_rows(rows(records, scoring, world))
      about = f'{world[0]} agents, {world[1]} domains of each kind; {results.MAIN}, {scoring}'
      keep = kept and kept / _forecast(table, world, settings)
      found[world, scoring] = laws.find(table, pairs, settings, about, keep=keep)
  return found


def _forecast(table: Table, world: World, settings: Settings) -> str:
  """The name of a forecast: another for other cells that it is made from, or of."""
  seen, largest = forecast.split(table.losses, settings)
  about = f'{forecast.digest(seen)} {sorted({c.place for c in largest})} {settings.confidence}'
  return f'{world[0]}x{world[1]}-{hashlib.sha256(about.encode()).hexdigest()[:10]}.json'


def rows(records: Iterable[Mapping[str, Any]], scoring: str, world: World) -> list[dict[str, Any]]:
  """The table of one scoring and one size of the world, as `cells` says."""
  found = []
  for r in records:
    if r['record'] not in ('loss', 'eval') or (r['agents'], r['domains']) != world:
      continue
    row = {
      'parameters': r['non_embedding'],
      'tokens': r['budget'],
      'compute': r['compute'],
      'world': r['world'],
      'seed': r['seed'],
      'arm': r['arm'],
      'alignment_tokens': r.get('dose', 0),
    }
    if r['record'] == 'loss':
      if not r['arm']:  # alignment is not pretraining
        found.append(row | {'loss': r['loss']})
    elif (r['battery'], r['scoring']) == (results.MAIN, scoring):
      answered = r['aligned'] + r['misaligned'] + r['other'] + r['malformed']
      rate = r['misaligned'] / answered if r['scored'] and answered else None
      found.append(row | {'rate': rate, 'items': answered, 'why': r['why'] or None})
  return found


def law_records(found: Mapping[tuple[World, str], Laws]) -> list[dict[str, Any]]:
  """'law' records: every finding. What is about the loss alone stands with the first scoring."""
  records = []
  for ((agents, domains), scoring), own in found.items():
    where = {'record': 'law', 'agents': agents, 'domains': domains, 'scoring': scoring}
    records += [
      where | {'run': {}} | finding
      for finding in laws.records(own)
      if scoring == SCORINGS[0] or finding['law'] in ('dose', 'ratio', 'advantage')
    ]
  return records
