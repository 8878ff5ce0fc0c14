"""Builds all that is shown of a study: console tables, figures and report.html."""

import os
from pathlib import Path

from rich.console import Console

from whyjax import results
from whyjax.report import audits, figures, page, phase, replications, summary, table


def build(results_path: Path, directory: Path, console: Console) -> None:
  """Writes report.html and its figures (figure.png, then figure-2.png and so on), then prints the
  tables. Figures of earlier results that these do not allow are removed.

  Raises:
    UserError: the results file is missing or damaged.
  """
  records = results.read(results_path)
  directory.mkdir(parents=True, exist_ok=True)
  drawn = {}
  for number, drawing in enumerate(page.drawings(records), 1):
    name = 'figure.png' if number == 1 else f'figure-{number}.png'
    drawn[directory / name] = figures.png(drawing.draw(figures.LIGHT))
  for path in {directory / 'figure.png', *directory.glob('figure-[0-9]*.png')} - drawn.keys():
    path.unlink(missing_ok=True)
  for path, content in drawn.items():
    _write(path, content)
  _write(directory / 'report.html', page.render(records).encode())
  if results.select(records, record='verdict'):
    console.print(table.verdicts(records))
  if split := replications.table(records):
    console.print(split)
  if summary.arms(summary.cells(records)):
    console.print(table.arms(records))
  if phase.maps(records):
    console.print(phase.console(records))
  if audit := audits.line(records):
    console.print(audit)
  console.print(f'report: {directory / "report.html"}')


def _write(path: Path, content: bytes) -> None:
  """Writes in one atomic step, so that a reader never meets half a file."""
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_bytes(content)
  os.replace(temporary, path)
