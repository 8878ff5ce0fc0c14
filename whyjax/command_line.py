"""From the arguments of a command to a checked study and what to do with it."""

from collections.abc import Sequence
import dataclasses
from pathlib import Path
import re

from absl import flags
from ml_collections import config_dict, config_flags

from whyjax import config
from whyjax.errors import UserError

DISTRIBUTED = ('auto', 'on', 'off')  # what it means: training/processes.py
ACTIONS = (
  'run', 'plan', 'samples', 'report', 'freeze', 'sweep', 'expand', 'status', 'collect'
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Command:
  """What the user asked for.

  Attributes:
    study: None only for a report on a given workdir.
    run: of a sweep, the only one to do; None for the whole study.
    per_run: cores or GPUs of each run of a sweep; 0 for all.
    target: devices that a plan is for, where they are not here; '' for those that are.
    arguments: as they were given, without the name of the program.
  """

  action: str
  study: config.StudyConfig | None
  workdir: Path
  distributed: str
  run: int | None
  per_run: int
  target: str
  arguments: tuple[str, ...]


def parse(argv: Sequence[str]) -> Command:
  """The command that `argv` (program name first) describes.

  Raises:
    UserError: a flag is unknown or malformed, the config file is absent or fails, or the study is
      impossible.
  """
  # The file is read twice: first alone, to name an unknown field better than the library does.
  tree = _read_flags(argv, overrides=False).config
  values = _read_flags(argv, overrides=True, tree=tree)
  for name, value, unset, action in (
    ('run', values.run, None, 'run'),
    ('per_run', values.per_run, 0, 'sweep'),
    ('target', values.target, '', 'plan'),
  ):
    if value != unset and values.action != action:
      raise UserError(f'--{name} = {value}: only with --action={action}, not {values.action}')
  study, workdir = None, values.workdir
  if values.config is not None:
    study = config.parse(values.config.to_dict())
    _check_effect(study, argv)
    workdir = values.workdir or f'runs/{study.name}'
  if study or (values.action == 'report' and workdir):
    return Command(
      values.action,
      study,
      _directory(workdir),
      values.distributed,
      values.run,
      values.per_run,
      values.target,
      tuple(argv[1:]),
    )
  raise UserError(
    '--config: missing; give --config=FILE[:variant], such as --config=configs/principles.py'
  )


_OF_SIZES = re.compile(
  r'--?(?:no)?config\.(pretrain\.updates|model\.(?!compute_dtype|base_width)\w+)'
)


def _check_effect(study: config.StudyConfig, argv: Sequence[str]) -> None:
  """Raises UserError for an override of what a grid of sizes and budgets sets by itself."""
  for arg in argv:
    if study.kind == 'scaling' and (match := _OF_SIZES.match(arg)):
      raise UserError(
        f"{arg}: without effect when config.kind = 'scaling': {match[1]} follows from "
        'config.scaling.sizes, tokens and compute'
      )


def _directory(workdir: str) -> Path:
  """The path that --workdir gives; pathlib would make a folder of a URL, and of a quoted ~."""
  path = Path(workdir).expanduser()
  if '://' in workdir:
    raise UserError(
      f'--workdir = {workdir!r}: must be a directory of a disk; mount the bucket (launch/README.md)'
    )
  try:
    path.exists()
  except OSError as error:  # such as a name that is too long
    raise UserError(f'--workdir = {workdir!r}: {error.strerror}; give another') from None
  return path


def _read_flags(argv, *, overrides: bool, tree=None) -> flags.FlagValues:
  """Flags in a registry of their own; with `overrides`, `--config.field=value` is applied."""
  values = flags.FlagValues()
  sys_argv = list(argv) if overrides else [argv[0]]
  config_flags.DEFINE_config_file('config', flag_values=values, lock_config=True, sys_argv=sys_argv)
  flags.DEFINE_string(
    'workdir', None, 'directory of the results; default runs/STUDY', flag_values=values
  )
  flags.DEFINE_enum('action', 'run', ACTIONS, 'what to do', flag_values=values)
  flags.DEFINE_enum(
    'distributed', 'auto', DISTRIBUTED, 'whether others work on it too', flag_values=values
  )
  flags.DEFINE_integer('run', None, 'of a sweep, the only one to do', flag_values=values)
  flags.DEFINE_integer(
    'per_run', 0, 'cores or GPUs of each run of a sweep; 0: all', flag_values=values
  )
  flags.DEFINE_string('target', '', 'devices that a plan is for', flag_values=values)
  flags.DEFINE_boolean('debug', False, 'show tracebacks', flag_values=values)
  if overrides:
    _check_fields(tree, argv)
  try:
    rest = values(argv, known_only=not overrides)
  except UserError:
    raise
  except flags.Error as error:
    lines = str(error).strip().splitlines()  # more than one: a traceback from the config file
    raise UserError(('--config: the file fails with ' if lines[1:] else '') + lines[-1]) from error
  except Exception as error:  # whatever a config file may raise
    raise UserError(f'--config: the file fails with {type(error).__name__}: {error}') from error
  if overrides and rest[1:]:
    raise UserError(f'{rest[1]}: unexpected argument; flags are --name=value')
  if values.config is not None and not isinstance(values.config, config_dict.ConfigDict):
    # The library puts off an error of reading the file.
    name, *_ = values['config'].config_filename.split(':')
    fault = 'get_config must return a ConfigDict' if Path(name).is_file() else 'no such file'
    raise UserError(f'--config={name}: {fault}')
  return values


def _check_fields(tree, argv) -> None:
  """Raises UserError unless every `--config.field=value` names a field of the config."""
  for arg in argv:
    match = re.match(r'--?(?:no)?config\.([^=]+)', arg)
    node, path = tree, 'config'
    for key in match[1].split('.') if match and tree is not None else ():
      if not isinstance(node, config_dict.ConfigDict):
        raise UserError(f'{path}.{key}: {path} is a value and has no fields')
      if key not in node:
        raise config.unknown_field(path, key, node)
      node, path = node[key], f'{path}.{key}'
