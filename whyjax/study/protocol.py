"""Calibrate, freeze, judge: which worlds may choose the dials, and which may carry a verdict.

Dials are whatever decides what a world is, what is read, how a model learns, how it is asked and
by which rule it is judged.
They are chosen on calibration worlds, then frozen: written to `frozen.json` beside this file, with
the commit at which that was done. Only other worlds carry verdicts, and a verdict says whether its
dials were frozen.
"""

from collections.abc import Iterable
import dataclasses
import json
from pathlib import Path

from whyjax.config import StudyConfig
from whyjax.corpus.templates import TEXT_VERSION
from whyjax.errors import UserError
from whyjax.study import statistics
from whyjax.study.workdir import write_atomic

CALIBRATION = range(1000)  # seeds of worlds
FROZEN = Path(__file__).parent / 'frozen.json'

# A study may vary these without leaving its dials: what it asks about, where and on what it runs.
_FREE = {
  'name',
  'question',
  'kind',
  'arms',
  'later_arms',
  'later',
  'claims',
  'doses',
  'seeds',
  'scaling',
  'device',
}


LEAST_WORLDS = 2  # behind a verdict: one world says nothing about others


def check(study: StudyConfig) -> None:
  """Raises a UserError if a study mixes worlds of calibration with worlds that judge, or judges
  claims with fewer worlds than the rule of a verdict needs."""
  first, last = study.seeds.first_world, study.seeds.first_world + study.seeds.worlds - 1
  if (first in CALIBRATION) != (last in CALIBRATION):
    raise UserError(
      f'config.seeds.first_world = {first}: worlds {first}-{last} mix calibration (below '
      f'{CALIBRATION.stop}) and judging; take all from one side'
    )
  if study.claims and first not in CALIBRATION and study.seeds.worlds < LEAST_WORLDS:
    raise UserError(
      f'config.seeds.worlds = {study.seeds.worlds}: must be at least {LEAST_WORLDS} to judge '
      'config.claims: one world says nothing about others'
    )


def calibrates(worlds: Iterable[int]) -> bool:
  """Whether any of these worlds is for calibration."""
  return any(world in CALIBRATION for world in worlds)


def dials(study: StudyConfig) -> dict:
  """All fields that are frozen, and the versions of text and rule, as plain JSON."""
  fields = {k: v for k, v in dataclasses.asdict(study).items() if k not in _FREE}
  del fields['evals']['batteries'], fields['statistics']['split']
  fields['model'] = study.model.identity()
  fields['versions'] = _versions()
  if study.kind != 'phase':
    del fields['phase']  # empty: dials frozen before there were phase studies stay frozen
  return json.loads(json.dumps(fields))


def frozen(study: StudyConfig) -> str:
  """The commit at which the dials of a study were frozen; '' if they were not."""
  wanted = dials(study)
  return next((entry['commit'] for entry in _entries() if entry['dials'] == wanted), '')


def describe(study: StudyConfig) -> str:
  """One line for people: what the worlds are for, and whether the dials are frozen."""
  first, last = study.seeds.first_world, study.seeds.first_world + study.seeds.worlds - 1
  where = f'world {first}' if first == last else f'worlds {first}-{last}'
  commit = frozen(study)
  if first in CALIBRATION:
    return f'{where}: calibration, no verdicts'
  return f'{where}: ' + (
    f'judging, dials frozen at {commit[:10]}' if commit else 'exploration, dials not frozen'
  )


def freeze(study: StudyConfig, commit: str) -> str:
  """Writes the dials of a study down as frozen at `commit` (of provenance.commit); says so.

  Raises:
    UserError: they are frozen already, or files differ from the commit.
  """
  if known := frozen(study):
    raise UserError(f'these dials are frozen already, at {known}')
  if not commit or commit.endswith('-dirty'):
    raise UserError(f'commit {commit or "unknown"}: dials are frozen at a commit; commit first')
  # Entries of other versions match no study any more; what was judged by them names their commit.
  valid = [e for e in _entries() if e['dials'].get('versions') == _versions()]
  entries = [*valid, {'commit': commit, 'study': study.name, 'dials': dials(study)}]
  write_atomic(FROZEN, json.dumps(entries, indent=1, sort_keys=True) + '\n')
  return f'dials of {study.name} frozen at {commit}; now commit {FROZEN}'


def _versions() -> dict:
  return {'text': TEXT_VERSION, 'rule': statistics.RULE}


def _entries() -> list[dict]:
  return json.loads(FROZEN.read_text())
