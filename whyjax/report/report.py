"""Builds all that is shown of a study: console tables, figures and report.html."""

import os
from pathlib import Path
import re

from rich.console import Console

from whyjax import results
from whyjax.report import audits, page, phase, replications, summary, table
from whyjax.scaling import records as law_table
from whyjax.scaling import text


def build(results_path: Path, directory: Path, console: Console) -> None:
  """Writes report.html and its figures (figure.png and .svg, then figure-2 and so on), then prints
  the tables. Figures of earlier results that these do not allow are removed.

  Raises:
    UserError: the results file is missing or damaged.
  """
  records = results.read(results_path)
  directory.mkdir(parents=True, exist_ok=True)
  kept = directory / law_table.FORECASTS
  found = law_table.find(records, kept if kept.is_dir() else None)
  drawn = page.drawings(records, found)
  files = {}
  for number, drawing in enumerate(drawn, 1):
    name = 'figure' if number == 1 else f'figure-{number}'
    files |= {directory / f'{name}.{kind}': made for kind, made in drawing.files.items()}
  old = {path for kind in ('png', 'svg') for path in directory.glob(f'figure*.{kind}')}
  for path in old - files.keys():
    if re.fullmatch(r'figure(-\d+)?', path.stem):
      path.unlink()
  for path, content in files.items():
    _write(path, content)
  _write(directory / 'report.html', page.render(records, drawn).encode())
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
  for own in found.values():
    console.print(text.text(own), highlight=False, markup=False)
  console.print(f'report: {directory / "report.html"}')


def _write(path: Path, content: bytes) -> None:
  """Writes in one atomic step, so that a reader never meets half a file."""
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_bytes(content)
  os.replace(temporary, path)
