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
  """What is wrong with the disk, if that ended the run; '' if not. Libraries wrap such errors."""
  while error is not None:
    if isinstance(error, OSError) and error.errno in _DISK:
      return str(error)
    if 'No space left on device' in str(error):
      return 'No space left on device'
    error = error.__cause__ or error.__context__
  return ''
