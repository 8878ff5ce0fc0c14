"""Runs a study: `python -m whyjax.main --config=FILE[:variant] [--config.field=value ...]`.

  --workdir=DIR     where results go (default runs/STUDY); the same command resumes there
  --action=run      train, evaluate, judge and report (default)
  --action=plan     print the stages, their cost and what is done, before any compute
  --action=samples  print what every arm reads and every battery asks
  --action=freeze   write down that the dials of a study are chosen; what follows is judged
  --action=report   build the report from results.jsonl alone (with --workdir, no --config needed)
  --distributed=auto  join the processes that Slurm, MPI, a TPU pod or JAX_COORDINATOR_ADDRESS
                    speak of; on: there must be some; off: never
  --debug           show tracebacks

A list is set by one flag for each entry, or whole: --config.arms="('generic', 'reason')".
Exit codes: 0 done, 2 bad input, 1 other faults, 143 or 130 saved and stopped (SIGTERM, Ctrl-C),
75 a step or another process does not answer. After 143, 130 and 75 the same command goes on.
"""

from collections.abc import Sequence
import signal
import sys
import threading
import traceback

from absl import logging
from rich.console import Console

from whyjax import command_line
from whyjax.errors import UserError, disk_fault
from whyjax.training import processes
from whyjax.training.interrupt import Preempted


def main(argv: Sequence[str]) -> int:
  """Does what the arguments (program name first) say; returns the exit code."""
  if '--help' in argv:
    print(__doc__)
    return 0
  try:
    _act(command_line.parse(argv))
    return 0
  except Preempted as stop:
    return _end(stop, str(stop), stop.exit_code, argv)
  except SystemExit as stop:
    line = 'nobody reads the output' if stop.code == 1 else 'stopped'  # 1: Rich's own
    return _end(stop, f'{line}; the same command goes on from there', stop.code, argv)
  except UserError as error:
    return _end(error, str(error), 2, argv)
  except Exception as error:
    if fault := disk_fault(error):
      return _end(error, fault, 2, argv)
    return _end(error, f'{type(error).__name__}: {error} (--debug shows where)', 1, argv)


def _act(command: command_line.Command) -> None:
  # Imported late: each action loads only what it needs, and bad input is answered at once.
  console = Console(width=None if sys.stdout.isatty() else 160)
  if command.action == 'report':
    from whyjax.report import report

    report.build(command.workdir / 'results.jsonl', command.workdir, console)
  elif command.action == 'samples':
    from whyjax.study import samples

    samples.show(command.study, console)
  elif command.action == 'freeze':
    from whyjax.study import protocol, provenance

    console.print(protocol.freeze(command.study, provenance.commit()))
  elif command.action == 'plan':
    from whyjax.study import plan

    plan.show(command.study, command.workdir, console)
  else:
    from whyjax.study import runner

    with processes.joined(command.distributed, command.study.device):
      console.quiet = not processes.is_first()
      runner.run(command.study, command.workdir, console)


def _end(error: BaseException, line: str, code: int, argv: Sequence[str]) -> int:
  """One line on stderr; with --debug the traceback before it."""
  if '--debug' in argv:
    traceback.print_exception(error)
  if not processes.is_first() and isinstance(error, (UserError, Preempted)):
    return code  # the first process says it
  print('whyjax: ' + ' '.join(line.split()), file=sys.stderr)
  return code


def _stop(number: int, _) -> None:
  """Outside of training, which saves first, all that is written is whole: end at once."""
  raise SystemExit(128 + number)  # an Exception could be caught on its way for other reasons


def _hush() -> None:
  """Libraries log at length and trace faults of their threads: what matters ends the run anyway."""
  logging.set_verbosity(logging.FATAL)
  sys.excepthook = sys.unraisablehook = threading.excepthook = lambda *_: None


if __name__ == '__main__':
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, _stop)
  if '--debug' not in sys.argv:
    _hush()
  sys.exit(main(sys.argv))
