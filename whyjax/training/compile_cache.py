"""Compiled programs that are kept for the next start.

JAX writes an entry in place, and never over one that is there: where a kill or a full disk has left
half of a program, it would be found damaged, and compiled again, at every start.
"""

import functools
import os
from pathlib import Path
import re
import warnings

import jax

_DAMAGED = re.compile(r"Error reading persistent compilation cache entry for '([^']+)'")


def keep(directory: str) -> None:
  """Has JAX keep every program that it compiles in `directory`, and replace what is damaged."""
  jax.config.update('jax_compilation_cache_dir', os.path.expanduser(directory))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  _mend_damaged()


@functools.cache
def _mend_damaged() -> None:
  show = warnings.showwarning

  def mend(message, *where, **more):
    if damaged := _DAMAGED.match(str(message)):
      # The warning has no key, so all programs of the name go. JAX compiles this one next, and
      # writes it.
      for entry in Path(jax.config.jax_compilation_cache_dir).glob(f'{damaged[1]}-*-cache'):
        entry.unlink(missing_ok=True)
    else:
      show(message, *where, **more)

  warnings.showwarning = mend
