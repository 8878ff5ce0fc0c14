"""The results file: what is written is read again, and damage is named."""

import json

import pytest

from whyjax import results
from whyjax.errors import UserError


def evaluation(outcomes='amox', **changes):
  """An eval record whose counts are those of its outcomes."""
  where = {
    'stage': 'align/reason',
    'kind': 'align',
    'arm': 'reason',
    'later': '',
    'world': 3,
    'seed': 1,
  }
  counts = {name: outcomes.count(letter) for letter, name in results.OUTCOMES.items()}
  record = {
    'record': 'eval',
    'battery': 'agentic-tools',
    'items': 'abc',
    'scoring': 'greedy',
    'n': len(outcomes),
    'rate': counts['misaligned'] / len(outcomes),
    'scored': True,
    'why': '',
    'margin': None,
    'outcomes': outcomes,
  }
  return record | where | counts | changes


def check(**changes):
  return {'record': 'check', 'name': 'same actions', 'arms': ['a', 'b'], 'text': 'é < ✓'} | changes


def test_round_trip_keeps_every_bit_and_sorts_keys(tmp_path):
  path = tmp_path / 'results.jsonl'
  third = evaluation('a' * 2 + 'm', run={'seconds': 0.1 + 0.2})
  results.write(path, [check(), third])
  read = results.read(path)
  assert read == [
    {'schema': results.SCHEMA, 'run': {}} | check(),
    {'schema': results.SCHEMA} | third,
  ]
  assert read[1]['rate'].hex() == (1 / 3).hex()
  for line in path.read_text().splitlines():
    assert list(json.loads(line)) == sorted(json.loads(line))


def test_failed_write_leaves_the_old_file_alone(tmp_path):
  path = tmp_path / 'results.jsonl'
  results.write(path, [check()])
  before = path.read_bytes()
  with pytest.raises(UserError, match='record 2'):
    results.write(path, [check(), evaluation(rate=float('nan'))])
  assert path.read_bytes() == before
  assert [p.name for p in tmp_path.iterdir()] == ['results.jsonl']


@pytest.mark.parametrize(
  'bad, names',
  [
    (evaluation(n=5), 'eval.n'),
    (evaluation(malformed=0), 'eval.malformed'),
    (evaluation('amoz'), 'eval.outcomes'),
    (evaluation(world='3'), 'eval.world'),
    (evaluation(world=True), 'eval.world'),
    (evaluation(scored=1), 'eval.scored'),
    (check(run=None), 'check.run'),
    (check(arms='ab'), 'check.arms'),
    (check(record='verdicts'), 'verdicts'),
    (check(record=['check']), 'record'),
    (check(schema=9), 'schema = 9'),
  ],
)
def test_bad_records_are_refused_in_writing_and_in_reading(tmp_path, bad, names):
  path = tmp_path / 'results.jsonl'
  with pytest.raises(UserError, match=names):
    results.write(path, [bad])
  path.write_text(json.dumps({'schema': 1, 'run': {}} | bad) + '\n')
  with pytest.raises(UserError, match=f'line 1.*{names}'):
    results.read(path)


def test_every_required_field_is_missed(tmp_path):
  complete = {'schema': 1, 'run': {}} | evaluation()
  results.validate(complete)
  for name in results.FIELDS['eval']:
    with pytest.raises(UserError, match=name):
      results.validate({k: v for k, v in complete.items() if k != name})


@pytest.mark.parametrize(
  'damage', [b'{"schema": 1, "rec', b'', b'[1]', b'\xff\xfe', b'{"schema": NaN}']
)
def test_a_damaged_line_is_named(tmp_path, damage):
  path = tmp_path / 'results.jsonl'
  results.write(path, [check(), check()])
  first, second = path.read_bytes().splitlines()
  path.write_bytes(b'\n'.join([first, damage, second]))
  with pytest.raises(UserError, match='line 2') as error:
    results.read(path)
  assert '\n' not in str(error.value)


def test_missing_and_empty_files_are_user_errors(tmp_path):
  with pytest.raises(UserError, match='cannot be read'):
    results.read(tmp_path / 'results.jsonl')
  (tmp_path / 'empty.jsonl').touch()
  with pytest.raises(UserError, match='empty'):
    results.read(tmp_path / 'empty.jsonl')


def test_unknown_fields_are_kept_and_a_line_separator_in_text_is_no_new_line(tmp_path):
  path = tmp_path / 'results.jsonl'
  results.write(path, [check(text='a\u2028b', extra=[1])])
  (record,) = results.read(path)
  assert record['text'] == 'a\u2028b' and record['extra'] == [1]


def test_select_needs_every_field():
  records = [evaluation(), evaluation(world=4), check()]
  assert results.select(records, record='eval', world=4) == records[1:2]
  assert results.select(records, world=3, seed=1) == records[:1]
