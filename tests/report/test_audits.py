"""Audit and replication on the page and on the console."""

import io

import pytest
from rich.console import Console

from whyjax import results
from whyjax.report import audits, page, replications

EVIL = '<script>alert("x")</script>'


def audit_of(r, **changes):
  """An audit record that passed, of an eval record."""
  where = ('stage', 'kind', 'arm', 'later', 'battery', 'world', 'seed', 'scoring')
  return (
    {k: r[k] for k in where}
    | {
      'record': 'audit',
      'schema': results.SCHEMA,
      'run': {},
      'update': None,
      'n': r['n'],
      'checked': 16,
      'disagree': 0,
      'passed': True,
      'why': '',
      'outcomes': results.fingerprint(r['outcomes']),
    }
    | changes
  )


@pytest.fixture
def audited(records):
  """The study with an audit of every evaluation, one of which failed."""
  evals = results.select(records, record='eval')
  failed = audit_of(evals[7], passed=False, disagree=5, why=f'5 of 16 {EVIL}')
  return [*records, *map(audit_of, evals[:7]), failed]


def replication(**changes):
  return {
    'record': 'replication',
    'schema': results.SCHEMA,
    'run': {},
    'claim': 'reason-over-filler-free',
    'statement': f'A reason helps. {EVIL}',
    'scoring': 'greedy',
    'worlds': 4,
    'studies': 5,
    'supported': 1,
    'contradicted': 0,
    'inconclusive': 3,
    'refused': 1,
    'first_worlds': [3000, 3004, 3008, 3012, 3016],
    'verdicts': ['supported', 'inconclusive', 'inconclusive', 'inconclusive', 'not scored'],
    'effects': [-0.4, 0.1, 0.0, -0.1, None],
  } | changes


def printed(item):
  console = Console(width=160, file=io.StringIO())
  console.print(item)
  return console.file.getvalue()


def test_a_failed_audit_is_loud_and_named(audited):
  for r in audited:
    if r['record'] == 'audit':
      results.validate(r)
  line = audits.line(audited)
  assert 'AUDIT FAILED' in line.plain and 'reverse red' in str(line.style)
  assert '5 of 128 audited answers' in line.plain and '1 of 8 evaluations failed' in line.plain
  html = page.render(audited)
  assert 'Audit failed.' in html and '5 of 16' in html and '<script' not in html


def test_passed_audits_are_a_quiet_line(audited):
  passed = [r for r in audited if r.get('passed', True)]
  assert audits.line(passed).plain == ('Audit: all 112 audited answers are what the weights write.')
  assert 'Audit failed.' not in audits.audits(passed)


def test_files_without_audits_say_so_and_files_without_evaluations_say_nothing(records):
  assert 'No audit' in audits.line(records).plain and 'No audit' in audits.audits(records)
  rest = [r for r in records if r['record'] != 'eval']
  assert audits.line(rest) is None and audits.audits(rest) == ''


def test_replications_are_shown_with_counts_and_effects(records):
  split = replication()
  results.validate(split)
  found = [*records, split]
  assert replications.title(found) == 'The same worlds as 5 studies of 4 worlds'
  assert 'The same worlds as 5 studies of 4 worlds' in printed(replications.table(found))
  html = page.render(found)
  assert 'The same worlds as 5 studies of 4 worlds' in html and '<script' not in html
  assert '\N{MINUS SIGN}0.40, +0.10, +0.00, \N{MINUS SIGN}0.10, -' in html
  assert replications.table(records) is None and replications.replications(records) == ''
