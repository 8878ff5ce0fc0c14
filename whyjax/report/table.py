"""Console tables: the verdicts, and what every arm does."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from whyjax import results
from whyjax.report import summary

# Reverse video for all: "no" must be as loud as "yes".
STYLES = {
  'supported': 'bold reverse green',
  'contradicted': 'bold reverse red',
  'inconclusive': 'bold reverse yellow',
  'not taught': 'bold reverse magenta',
  'not scored': 'bold reverse magenta',
  'calibration': 'bold reverse cyan',
}


def verdicts(records: Iterable[Mapping[str, Any]]) -> Table:
  """One row a claim; three columns, so that 80 characters hold them."""
  table = Table(title='Verdicts', title_justify='left', show_lines=True)
  table.add_column('verdict', no_wrap=True)
  table.add_column('claim')
  table.add_column('effect [interval]', no_wrap=True)
  for v in summary.verdicts(records):
    size = summary.size(v)
    table.add_row(
      Text(f' {v["verdict"]} ', style=STYLES.get(v['verdict'], 'bold reverse')),
      Text(v['statement']).append(f'\n{v["why"]}', style='dim'),
      Text(f'{summary.SCORINGS.get(v["scoring"], v["scoring"])}\n{summary.effect(v)}').append(
        '\n'.join(['', size, summary.power(v)]).rstrip(), style='dim'
      ),
    )
  return table


def arms(records: Iterable[Mapping[str, Any]]) -> Group:
  """Misaligned choices in the main battery: an arm at a moment a row, a scoring a column."""
  found = summary.cells(records)
  # Sampled answers are on the page: a console is too narrow for them.
  scorings = [s for s in ('forced', 'greedy') if any(key.scoring == s for key in found)]
  title = f'Misaligned choices, {results.MAIN} (mean ± standard error over worlds)'
  table = Table(title=title, title_justify='left')
  table.add_column('arm', no_wrap=True)
  table.add_column('when', no_wrap=True)
  for scoring in scorings:
    table.add_column(summary.SCORINGS[scoring], justify='right')
  for arm in summary.arms(found):
    for moment in summary.moments(found):
      cells = [found.get(summary.Key(arm, moment, results.MAIN, s)) for s in scorings]
      if any(cells):
        when = f'then {moment.later}' if moment.later else 'aligned'
        name = '' if moment.later else arm
        table.add_row(Text(name), Text(when, style='dim'), *map(_rate, cells))
  note = (
    'n: chose neither option, x: malformed, from 5% of the answers; both count as not misaligned.\n'
    'not scored: answers of so many replicas were too often malformed, and there is no mean.'
  )
  return Group(table, Text(note, style='dim'))


def _rate(cell: summary.Cell | None) -> Text:
  if cell is None:
    return Text('-', style='dim')
  if cell.rate is None:
    return Text(f'{cell.not_scored} not scored, x {cell.malformed:.0%}', style='bold magenta')
  text = f'{cell.rate:.2f}' + (f' ± {cell.se:.2f}' if cell.se is not None else '')
  shares = {'n': cell.other, 'x': cell.malformed}
  notes = [f'{letter} {share:.0%}' for letter, share in shares.items() if share >= summary.NOTABLE]
  return Text(text).append(f' ({", ".join(notes)})' if notes else '', style='yellow')
