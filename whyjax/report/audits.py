"""Whether the recorded answers are those of the weights: a line on the console, a part of the
page."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from whyjax import results
from whyjax.report.markup import Records, escape, section, table

_KEY = (
  'After every evaluation a sample of the answers is computed again by the forward pass of '
  'training, which shares nothing with the scorer but the prompts.'
)
_NONE = 'No audit: these results are of a version that made none.'


def line(records: Records) -> Text | None:
  """The outcome of all audits in a line, loud when one failed; None when nothing was evaluated."""
  if not results.select(records, record='eval'):
    return None
  audits = results.select(records, record='audit')
  if not audits:
    return Text(_NONE, style='yellow')
  if _failed(audits):
    return Text(f' AUDIT FAILED: {_sentence(audits)} ', style='bold reverse red')
  return Text(f'Audit: {_sentence(audits)}', style='dim')


def audits(records: Records) -> str:
  """The same on the page, with the evaluations that failed; empty when nothing was evaluated."""
  if not results.select(records, record='eval'):
    return ''
  found = results.select(records, record='audit')
  if not found:
    return section('Audit of the scorer', f'<p>{_NONE}</p>')
  failed = _failed(found)
  body = f'<p>{escape(_sentence(found))}</p>'
  if failed:
    heads = ('stage', 'battery', 'scoring', 'world', 'seed', 'fault')
    rows = [[a[k] for k in (*heads[:-1], 'why')] for a in failed]
    mark = '<p><mark class="wrong">Audit failed.</mark></p>'
    body = mark + body + table(heads, rows)
  return section('Audit of the scorer', body, _KEY)


def _failed(audits: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  return [a for a in audits if not a['passed']]


def _sentence(audits: Sequence[dict[str, Any]]) -> str:
  checked, disagree = (sum(a[k] for a in audits) for k in ('checked', 'disagree'))
  failed = len(_failed(audits))
  if not failed:
    return f'all {checked:,} audited answers are what the weights write.'
  return (
    f'{disagree:,} of {checked:,} audited answers are not what the weights write; {failed} of '
    f'{len(audits)} evaluations failed, and no claim that rests on them is scored.'
  )
