"""results.jsonl: what a study found, one JSON object a line; all that reports and scaling laws
read.

docs/results_schema.md describes every field. Whatever may differ between two equal runs is under
"run".
"""

from collections.abc import Iterable
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from whyjax.errors import UserError

SCHEMA = 5
READS = (1, 2, 3, 4, 5)  # later versions added kinds of records, and measures
MAIN = 'agentic-tools'  # the battery of headlines, of most claims and of figures
CONTROLS = 'controls'  # the battery of facts that have nothing to do with values
BASE = 'generic'  # the arm that effects are counted from: the same training, without its text
OUTCOMES = {'a': 'aligned', 'm': 'misaligned', 'o': 'other', 'x': 'malformed'}

_TYPES = {
  'text': (str,),
  'whole': (int,),
  'number': (int, float),
  'maybe': (int, float, type(None)),
  'maybe_whole': (int, type(None)),
  'flag': (bool,),
  'lists': (list, tuple),
  'group': (dict,),
  'maybe_group': (dict, type(None)),
}


def _fields(**names: str) -> dict[str, tuple[type, ...]]:
  """Field names, given by type and separated by spaces, each to its types."""
  return {name: _TYPES[kind] for kind, words in names.items() for name in words.split()}


_STAGE = 'stage kind arm later '
_EVAL = _fields(
  text=_STAGE + 'battery items scoring outcomes why',
  whole='world seed n aligned misaligned other malformed',
  maybe='rate margin',
  flag='scored',
  group='run',
)
FIELDS = {
  'study': _fields(
    text='name question kind', group='config run', lists='worlds', whole='per_world'
  ),
  'stage': _fields(
    text=_STAGE + 'id parent',
    lists='corpora supervised_tokens loss',
    whole='updates tokens parameters',
    group='run',
  ),
  'eval': _EVAL,
  'probe': _EVAL | _fields(whole='update'),
  'loss': _fields(text=_STAGE, whole='world seed tokens', number='loss', group='run'),
  'transcript': _fields(
    text=_STAGE + 'battery scoring prompt answer right wrong outcome',
    whole='world seed item',
    group='run',
  ),
  'audit': _fields(
    text=_STAGE + 'battery scoring outcomes why',
    whole='world seed n checked disagree',
    flag='passed',
    maybe_whole='update',
    group='run',
  ),
  'check': _fields(text='name text', lists='arms', group='run'),
  'verdict': _fields(
    text=(
      'claim source statement treatment control battery scoring measure after direction verdict why'
    ),
    number='smallest_effect',
    maybe='effect low high se p p_holm detectable',
    whole='n worlds seeds',
    lists='per_replica other malformed',
    group='run',
  ),
  'phase': _fields(
    text='breadth treatment control battery scoring decision why',
    number='principled smallest_effect',
    whole='domains value_pairs n worlds seeds',
    maybe='advantage low high treatment_rate control_rate generic_rate',
    lists='per_replica other malformed',
    group='run',
  ),
  'boundary': _fields(
    text='treatment control battery scoring why',
    number='principled smallest_effect',
    maybe='at low high',
    lists='places',
    group='run',
  ),
  'replication': _fields(
    text='claim statement scoring',
    whole='worlds studies supported contradicted inconclusive refused',
    lists='first_worlds verdicts effects',
    group='run',
  ),
  'law': _fields(
    text='scoring law what why', whole='agents domains', maybe='value low high', group='run'
  ),
  'fit': _fields(
    text='law why', maybe_group='parameters', lists='points', maybe='residual', group='run'
  ),
}


def validate(record: dict[str, Any]) -> None:
  """Checks one record; fields beyond the schema are allowed and ignored.

  Raises:
    UserError: schema version or kind unknown, a field missing or of the wrong type, or counts that
      disagree.
  """
  version, kind = record.get('schema'), record.get('record')
  if version not in READS:
    known = ', '.join(map(str, READS))
    raise UserError(f'schema = {version!r}: this version of whyjax reads schemas {known}')
  if kind not in list(FIELDS):
    raise UserError(f'record = {kind!r}: must be one of {", ".join(FIELDS)}')
  for name, types in FIELDS[kind].items():
    if name not in record:
      raise UserError(f'{kind}.{name}: missing')
    if type(record[name]) not in types:
      allowed = ' or '.join('null' if t is type(None) else t.__name__ for t in types)
      raise UserError(f'{kind}.{name} = {record[name]!r}: must be of type {allowed}')
  if kind in ('eval', 'probe'):
    _check_counts(record)


def _check_counts(record: dict[str, Any]) -> None:
  """An eval record must count what its outcomes spell."""
  outcomes = record['outcomes']
  expected = {name: outcomes.count(letter) for letter, name in OUTCOMES.items()}
  for name, count in (expected | {'n': len(outcomes)}).items():
    if record[name] != count:
      raise UserError(f'eval.{name} = {record[name]}: the outcomes spell {count}')
  if sum(expected.values()) != len(outcomes):
    raise UserError(f'eval.outcomes = {outcomes!r}: letters must be of {"".join(OUTCOMES)}')


def factor(log10: float, digits: int = 2) -> str:
  """A ratio given by its log10, of two digits or more: '1/5.2' below 1, '3.1' above."""
  power = int(f'{10 ** abs(log10):.{digits - 1}e}'.partition('e')[2] or 0)  # inf has none
  ratio = f'{10 ** abs(log10):.{max(digits - 1 - power, 0)}f}'
  return ratio if log10 >= 0 or float(ratio) == 1 else f'1/{ratio}'


def fingerprint(outcomes: str) -> str:
  """A hash of an outcome string: by it an audit says which outcomes it is about."""
  return hashlib.sha256(outcomes.encode()).hexdigest()[:16]


def write(path: Path, records: Iterable[dict[str, Any]]) -> None:
  """Writes all records in one atomic step; "schema" and an empty "run" are added where absent."""
  path = Path(path)
  lines = []
  for number, record in enumerate(records, 1):
    record = {'schema': SCHEMA, 'run': {}} | record
    try:
      validate(record)
      lines.append(json.dumps(record, sort_keys=True, allow_nan=False) + '\n')
    except (UserError, ValueError, TypeError) as error:
      raise UserError(f'{path} record {number} ({record.get("record")}): {error}') from error
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_text(''.join(lines), encoding='utf-8')
  os.replace(temporary, path)


def read(path: Path) -> list[dict[str, Any]]:
  """All records of a results file.

  Raises:
    UserError: the file is missing or empty, or a line is damaged; the message names the line.
  """
  path = Path(path)
  try:
    lines = path.read_bytes().splitlines()
  except OSError as error:
    raise UserError(f'{path}: cannot be read ({error.strerror})') from error
  if not lines:
    raise UserError(f'{path}: empty; a results file holds at least one record')
  records = []
  for number, line in enumerate(lines, 1):
    try:
      record = json.loads(line, parse_constant=_refuse)
    except ValueError as error:
      raise UserError(f'{path} line {number}: not valid JSON ({error})') from error
    if not isinstance(record, dict):
      raise UserError(f'{path} line {number}: must be a JSON object')
    try:
      validate(record)
    except UserError as error:
      raise UserError(f'{path} line {number}: {error}') from error
    records.append(record)
  return records


def _refuse(constant: str):
  raise ValueError(f'{constant} is not allowed')


def select(records: Iterable[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
  """The records that have all the given fields with the given values, in order."""
  return [
    r for r in records if all(name in r and r[name] == value for name, value in fields.items())
  ]
