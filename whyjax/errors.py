"""Faults that are the user's to mend: one clear line each, no traceback."""

import errno
import os

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


class UserError(Exception):
  """Bad input (usage, config, workdir, damaged file); the process ends with exit code 2.

  The message is one line that names the field or path, its value, and what is allowed.
  """

  exit_code = 2


def require(holds: bool, field: str, value: object, allowed: str) -> None:
  """Raises a UserError about a field of the config unless something holds."""
  if not holds:
    raise UserError(f'config.{field} = {value!r}: must be {allowed}')


def disk_fault(error: BaseException | None) -> str:
  """The line that says so if a fault of the disk ended the run; '' if none did. Libraries wrap such
  errors, and some keep no more than their words."""
  while error is not None:
    known = isinstance(error, OSError) and error.errno in (*_DISK, errno.EACCES)
    words = (os.strerror(number) for number in _DISK)
    if what := str(error) if known else next((w for w in words if w in str(error)), ''):
      return f'{what}; mend that, then the same command goes on from there'
    error = error.__cause__ or error.__context__
  return ''


def ending(error: BaseException) -> tuple[str, int]:
  """(line, exit code) of what ended the program."""
  if isinstance(error, SystemExit):
    line = 'nobody reads the output' if error.code == 1 else 'stopped'  # 1: Rich's own
    return f'{line}; the same command goes on from there', error.code
  if code := getattr(error, 'exit_code', None):  # of a UserError, or of a stop after saving
    return str(error), code
  if fault := disk_fault(error):
    return fault, UserError.exit_code
  return f'{type(error).__name__}: {error} (--debug shows where)', 1
