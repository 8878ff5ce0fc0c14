"""Which eval records may be believed: those whose audit passed, on the outcomes that they hold."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from whyjax import results

_WHERE = ('stage', 'update', 'battery', 'scoring', 'world', 'seed')


def with_audits(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """All records but audits; those of evaluations have their audit record, or None, under 'audit'.

  Where there is no audit at all, the records are of a version that made none, and `refusal` lets
  them pass; where there are some, an eval record without one is refused.
  """
  records = list(records)
  audits = {_key(a): a for a in results.select(records, record='audit')}
  missing = {'checked': 0, 'disagree': 0, 'passed': False, 'why': 'there is no audit of it'}
  return [
    dict(r, audit=_of(r, audits.get(_key(r), missing)) if audits else None)
    if r['record'] in ('eval', 'probe')
    else r
    for r in records
    if r['record'] != 'audit'
  ]


def refusal(evals: Sequence[Mapping[str, Any]]) -> str:
  """Why a claim that rests on these records (of `with_audits`) is not scored; '' if all passed."""
  evals = [r for r in evals if r.get('audit')]
  failed = [r for r in evals if not r['audit']['passed']]
  if not failed:
    return ''
  worst = max(failed, key=lambda r: r['audit']['disagree'])
  where = (
    f'{worst["scoring"]} answers of {worst["stage"]} (world {worst["world"]}, seed '
    f'{worst["seed"]}) on {worst["battery"]}'
  )
  disagree, checked = (sum(r['audit'][k] for r in evals) for k in ('disagree', 'checked'))
  return (
    f'the audit failed: {disagree} of {checked} audited answers behind the claim are not what the '
    f'weights write; {where}: {worst["audit"]["why"]}'
  )


def _key(record: Mapping[str, Any]) -> tuple:
  return tuple(record.get(k) for k in _WHERE)


def _of(evaluation: Mapping[str, Any], audit: Mapping[str, Any]) -> Mapping[str, Any]:
  """The audit as it bears on this record: one of other outcomes says nothing about these."""
  if 'outcomes' in audit and audit['outcomes'] != results.fingerprint(evaluation['outcomes']):
    return dict(audit, passed=False, why='its outcomes are not those that were audited')
  return audit
