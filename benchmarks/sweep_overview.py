"""How long a sweep's bookkeeping takes: `python -m benchmarks.sweep_overview [SHARES]`.

A phase study of that many columns (14: 406 runs) and nine rows, with a result written for every
other run as if it had been done. Prints the seconds of expand, status and collect, each a command
of its own, as a user waits for them.
"""

import json
from pathlib import Path
import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

from whyjax import command_line, results
from whyjax.study import cache
from whyjax.study import workdir as workdirs
from whyjax.sweep import runs

BREADTHS = (*(f'1x{pairs}' for pairs in range(1, 7)), '2x4', '2x5', '2x6')
ROWS = 18 * 8  # of a result: batteries and scorings of the default study, times replicas


def arguments(shares: int, workdir: Path) -> list[str]:
  """The command of a phase study with so many columns."""
  principled = tuple(round(i / (shares - 1), 4) for i in range(shares))
  return [
    '--config=configs/phase.py',
    f'--workdir={workdir}',
    f'--config.phase.principled={principled}',
    f'--config.phase.breadths={BREADTHS}',
    '--config.seeds.first_world=0',
  ]


def fill(study, workdir: Path) -> int:
  """Writes results for every other run, as if it were done; returns how many runs there are."""
  found = runs.expand(study)
  row = dict.fromkeys(('id', 'parent', 'battery', 'scoring', 'kind', 'arm', 'later', 'why'), 'x')
  row |= dict.fromkeys(('n', 'aligned', 'misaligned', 'other', 'malformed', 'world', 'seed'), 1)
  row |= {'rate': 0.5, 'margin': None, 'update': None, 'scored': True}
  for run in found[::2]:
    directory = run.stage.directory(workdir)
    directory.mkdir(parents=True)
    answers_to = [cache.evaluation_id(run.stage, at) for at in run.stage.evaluated_after]
    rows = [row | {'stage': run.stage.name}] * ROWS
    result = {'schema': results.SCHEMA, 'answers_to': answers_to, 'rows': rows}
    (directory / cache.RESULT).write_text(json.dumps(result))
  return len(found)


def main(shares: int) -> None:
  """Prints the table."""
  with tempfile.TemporaryDirectory() as folder:
    workdir = Path(folder) / 'phase'
    command = arguments(shares, workdir)
    study = command_line.parse(['whyjax', *command]).study
    with workdirs.hold(workdir, study.name):
      count = fill(study, workdir)
    table = Table(title=f'{count} runs, half of them done')
    table.add_column('command')
    table.add_column('seconds', justify='right')
    total = 0.0
    for action in ('expand', 'status', 'collect'):
      begun = time.perf_counter()
      subprocess.run(
        [sys.executable, '-m', 'whyjax.main', *command, f'--action={action}'],
        check=True,
        stdout=subprocess.DEVNULL,
      )
      seconds = time.perf_counter() - begun
      total += seconds
      table.add_row(action, f'{seconds:.2f}')
    table.add_section()
    table.add_row('all', f'{total:.2f}')
    Console().print(table)


if __name__ == '__main__':
  main(int(sys.argv[1]) if sys.argv[1:] else 14)
