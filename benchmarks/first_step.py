"""How long until the first update? Used by `python -m benchmarks.speed`."""

from pathlib import Path
import subprocess
import sys
import tempfile
import time

LIMIT = 600.0  # seconds


def measure(rounds: int, quick: bool) -> dict[str, list[float]]:
  """Seconds from the command of the main job to the first updates that it reports.

  'cold': nothing is kept from before; 'warm': compiled programs are, but no text (not if `quick`);
  'warm, text ready': both.
  """
  starts = {'cold': 'first', 'warm': 'second', 'warm, text ready': 'second'}  # and their workdirs
  if quick:
    starts = {'cold': 'first', 'warm, text ready': 'first'}
  seconds: dict[str, list[float]] = {name: [] for name in starts}
  for _ in range(rounds):
    with tempfile.TemporaryDirectory() as folder:
      for name, workdir in starts.items():
        seconds[name].append(_first(Path(folder) / 'cache', Path(folder) / workdir))
  return seconds


def _first(cache: Path, workdir: Path) -> float:
  """Starts the main job, and kills it when it has reported."""
  for path in _reports(workdir):
    path.unlink()
  begun = time.perf_counter()
  command = ['--config=configs/principles.py', f'--workdir={workdir}']
  child = subprocess.Popen(
    [sys.executable, '-m', 'whyjax.main', *command, f'--config.device.compile_cache={cache}'],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  try:
    while not any(path.stat().st_size for path in _reports(workdir)):
      if child.poll() is not None or time.perf_counter() - begun > LIMIT:
        raise RuntimeError(f'{" ".join(command)}: no update within {LIMIT:.0f} s')
      time.sleep(0.02)
    return time.perf_counter() - begun
  finally:
    child.kill()
    child.wait()


def _reports(workdir: Path) -> list[Path]:
  """The metrics of all stages."""
  return list(workdir.glob('stages/*/metrics.jsonl'))
