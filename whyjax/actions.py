"""What each `--action` does. Imports are late: each loads only what it needs, and bad input is
answered at once."""

import sys

from rich.console import Console

from whyjax.command_line import Command
from whyjax.training import processes


def do(command: Command) -> None:
  """Does what a command asks for.

  Raises:
    UserError: bad input of any kind.
    Preempted: the process was asked to end, and has saved its state.
  """
  console = Console(width=None if sys.stdout.isatty() else 160)
  study, workdir = command.study, command.workdir
  match command.action:
    case 'report':
      from whyjax.report import report

      report.build(workdir / 'results.jsonl', workdir, console)
    case 'samples':
      from whyjax.study import samples

      samples.show(study, console)
    case 'freeze':
      from whyjax.study import protocol, provenance

      console.print(protocol.freeze(study, provenance.commit()))
    case 'plan':
      if command.target:
        from whyjax.study import target

        target.show(study, command.target, console)
      else:
        from whyjax.study import plan

        plan.show(study, workdir, console)
    case 'sweep':
      from whyjax.sweep import local

      local.sweep(study, workdir, command.arguments, command.per_run, console)
    case 'expand' | 'status' | 'collect' as action:
      from whyjax.sweep import overview

      getattr(overview, action)(study, workdir, console)
    case 'run':
      _run(command, console)


def _run(command: Command, console: Console) -> None:
  with processes.joined(command.distributed, command.study.device):
    console.quiet = not processes.is_first()
    if command.run is None:
      from whyjax.study import runner

      runner.run(command.study, command.workdir, console)
    else:
      from whyjax.sweep import single

      single.run(command.study, command.workdir, command.run, console)
