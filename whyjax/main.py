"""Runs a study: `python -m whyjax.main --config=FILE[:variant] [--config.field=value ...]`.

  --workdir=DIR     where results go (default runs/STUDY); the same command resumes there
  --action=run      train, evaluate, judge and report (default)
  --action=plan     print the stages, their cost and what is done, before any compute
  --target=tpu:v5e:16x16  with --action=plan: compile for devices that are not here: memory,
                    exchange between devices, whether it fits (gpu:8: lower only)
  --action=samples  print what every arm reads and every battery asks
  --action=freeze   write down that the dials of a study are chosen; what follows is judged
  --action=report   build the report from results.jsonl alone (with --workdir, no --config needed)
  --action=sweep    the same as run, stages side by side: --per_run=N cores or GPUs for each
  --action=expand   number the stages (runs.jsonl), and print by level which lack a result
  --run=N           with --action=run: that stage alone, while others work in the same workdir
  --action=status   how far every stage is: done, running, failed and why, pending
  --action=collect  the rates of all finished stages in one table, results.parquet
  --distributed=auto  join the processes that Slurm, MPI, a TPU pod or JAX_COORDINATOR_ADDRESS
                    speak of; on: there must be some; off: never
  --debug           show tracebacks

A list is set by one flag for each entry, or whole: --config.arms="('generic', 'reason')".
Exit codes: 0 done, 2 bad input, 1 other faults, 143 or 130 saved and stopped (SIGTERM, Ctrl-C),
75 a step or another process does not answer. After 143, 130 and 75 the same command goes on.
"""

from collections.abc import Sequence
import logging
import signal
import sys
import threading
import traceback

from whyjax import actions, command_line
from whyjax.errors import UserError, ending
from whyjax.training import processes
from whyjax.training.interrupt import Preempted


def main(argv: Sequence[str]) -> int:
  """Does what the arguments (program name first) say; returns the exit code."""
  if '--help' in argv:
    print(__doc__)
    return 0
  try:
    actions.do(command_line.parse(argv))
    return 0
  except (SystemExit, Exception) as error:
    return _end(error, argv)


def _end(error: BaseException, argv: Sequence[str]) -> int:
  """One line on stderr, with --debug the traceback before it; returns the exit code."""
  if '--debug' in argv:
    traceback.print_exception(error)
  line, code = ending(error)
  if not processes.is_first() and isinstance(error, (UserError, Preempted)):
    return code  # the first process says it
  print('whyjax: ' + ' '.join(line.split()), file=sys.stderr)
  return code


def _stop(number: int, _) -> None:
  """Outside of training, which saves first, all that is written is whole: end at once."""
  raise SystemExit(128 + number)  # an Exception could be caught on its way for other reasons


def _hush() -> None:
  """Libraries log at length and trace faults of their threads: what matters ends the run anyway."""
  logging.disable()
  sys.excepthook = sys.unraisablehook = threading.excepthook = lambda *_: None


if __name__ == '__main__':
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, _stop)
  if '--debug' not in sys.argv:
    _hush()
  sys.exit(main(sys.argv))
