"""The worlds of a study judged in groups, as studies of their own: for the console and the page."""

from rich.table import Table
from rich.text import Text

from whyjax import results
from whyjax.report import summary
from whyjax.report.markup import Records, escape, section
from whyjax.report.markup import table as html_table

_COUNTS = ('supported', 'contradicted', 'inconclusive', 'refused')
_KEY = (
  'Disjoint groups of worlds, each judged as if the others had never been run: the same claims, a '
  'correction of its own. What one such study says, the next should say again. Refused: not '
  'taught, not scored or calibration.'
)


def table(records: Records) -> Table | None:
  """One row a claim, for the console; None when the worlds were not split."""
  found = results.select(records, record='replication')
  if not found:
    return None
  shown = Table(title=title(records), title_justify='left')
  shown.add_column('claim')
  shown.add_column('scoring', no_wrap=True)
  for word in _COUNTS:
    shown.add_column(word, justify='right')
  for r in found:
    counts = [Text(str(r[word]), style='' if r[word] else 'dim') for word in _COUNTS]
    scoring = summary.SCORINGS.get(r['scoring'], r['scoring'])
    shown.add_row(Text(r['statement']), scoring, *counts)
  return shown


def replications(records: Records) -> str:
  """The same on the page, with the effect of each group; empty when the worlds were not split."""
  found = results.select(records, record='replication')
  rows = [
    (
      r['statement'],
      summary.SCORINGS.get(r['scoring'], r['scoring']),
      *(r[word] for word in _COUNTS),
      ', '.join('-' if e is None else summary.signed(e) for e in r['effects']),
    )
    for r in found
  ]
  heads = ('claim', 'scoring', *_COUNTS, 'effects')
  return section(escape(title(records)), html_table(heads, rows), _KEY) if rows else ''


def title(records: Records) -> str:
  """What the split is of; empty when the worlds were not split."""
  for r in results.select(records, record='replication'):
    return f'The same worlds as {r["studies"]} studies of {r["worlds"]} worlds'
  return ''
