"""Faults that are the user's to mend: one clear line each, no traceback."""

import errno

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class UserError(Exception):
  """Bad input (usage, config, workdir, damaged file); the process ends with exit code 2.

  The message is one line that names the field or path, its value, and what is allowed.
  """


def require(holds: bool, field: str, value: object, allowed: str) -> None:
  """Raises a UserError about a field of the config unless something holds."""
  if not holds:
    raise UserError(f'config.{field} = {value!r}: must be {allowed}')


def disk_fault(error: BaseException | None) -> str:
  """The line that says so if a fault of the disk ended the run; '' if none did. Libraries wrap such
  errors."""
  full = 'No space left on device'
  while error is not None:
    known = isinstance(error, OSError) and error.errno in _DISK
    if known or full in str(error):
      what = str(error) if known else full
      return f'{what}; mend that, then the same command goes on from there'
    error = error.__cause__ or error.__context__
  return ''
