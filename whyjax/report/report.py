"""Builds all that is shown of a study: console tables, figure.png and report.html."""

import os
from pathlib import Path

from rich.console import Console

from whyjax import results
from whyjax.report import audits, figures, page, phase, replications, summary, table


def build(results_path: Path, directory: Path, console: Console) -> None:
  """Writes report.html and, where there is something to draw, figure.png; then prints the tables.

  Raises:
    UserError: the results file is missing or damaged.
  """
  records = results.read(results_path)
  directory.mkdir(parents=True, exist_ok=True)
  drawings = page.drawings(records)
  if drawings:
    _write(directory / 'figure.png', figures.png(drawings[0].draw(figures.LIGHT)))
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
