"""Faults that are the user's to mend: one clear line each, no traceback."""


class UserError(Exception):
  """Bad input (usage, config, workdir, damaged file); the process ends with exit code 2.

  The message is one line that names the field or path, its value, and what is allowed.
  """


def require(holds: bool, field: str, value: object, allowed: str) -> None:
  """Raises a UserError about a field of the config unless something holds."""
  if not holds:
    raise UserError(f'config.{field} = {value!r}: must be {allowed}')
