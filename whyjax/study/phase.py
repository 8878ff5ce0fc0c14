"""The phase diagram: in which worlds, and up to which breadth of demonstrations, why beats what.

A cell compares an arm that teaches why with the arm of demonstrations, in one world (share of
principled agents) and at one breadth. Its *advantage* is the difference of their shares of
misaligned choices, paired by replica and item: negative where why helps. With d the smallest effect
of interest, a cell says

  why helps               the interval excludes 0 and the advantage is -d or beyond
  demonstrations suffice  the interval excludes an advantage of -d, and demonstrations help: they
                          pass the first rule beside background text alone
  neither helps           the interval excludes an advantage of -d, and demonstrations do not
  why hurts               the interval excludes 0 and the advantage is +d or beyond
  undecided               none of these

The first asks for an interval that excludes 0, not -d, so that it means what support of a claim
means. As there, a decision must hold for aligned choices too. Unlike there, it is of one cell
alone: one in twenty decisions of a map without effects is expected to be wrong, so read regions and
not single cells.

The *boundary* of a world is the breadth from which on, up to the widest, why helps by at most d on
average; whether demonstrations suffice there or neither helps is for the cells to say.
"""

from collections.abc import Iterable, Mapping, Sequence
import itertools
from typing import Any
import zlib

import numpy as np

from whyjax import results
from whyjax.config import StatisticsConfig, StudyConfig
from whyjax.errors import UserError
from whyjax.scaling.estimate import student
from whyjax.study import audited, axes, judgement, measures, protocol, statistics
from whyjax.study.statistics import Estimate

SCORINGS = ('forced', 'greedy')
HELPS = 'why helps'
SUFFICE = 'demonstrations suffice'
NEITHER = 'neither helps'
HURTS = 'why hurts'
UNDECIDED = 'undecided'
# Where an end of a boundary lies.
INSIDE = 'on the grid'
BELOW = 'below the smallest breadth'
BEYOND = 'beyond the largest breadth'

_Run = Sequence[Mapping[str, Any]]  # eval records of one stage, one a replica


def diagram(records: Iterable[Mapping[str, Any]], study: StudyConfig) -> list[dict[str, Any]]:
  """'phase' records, one for each share, breadth, arm and scoring, then 'boundary' records.

  Raises:
    UserError: an evaluation is missing, or those of a cell differ in replicas or items.
  """
  runs = _runs(audited.with_audits(records))
  rivals = [arm for arm in study.arms if arm not in (results.BASE, study.phase.what)]
  cells, boundaries = [], []
  for arm, scoring, share in itertools.product(rivals, SCORINGS, study.phase.principled):
    row = [_cell(runs, study, share, breadth, arm, scoring) for breadth in study.phase.breadths]
    cells += row
    boundaries.append(_boundary(row, study))
  return cells + boundaries


def _runs(records: Iterable[Mapping[str, Any]]) -> dict[tuple, _Run]:
  """Eval records by share, breadth, arm, battery and scoring, in the order of replicas."""
  found: dict[tuple, list] = {}
  for r in results.select(records, record='eval'):
    where = (r['principled'], r['breadth'], r['arm'], r['battery'], r['scoring'])
    found.setdefault(where, []).append(r)
  return {where: sorted(run, key=lambda r: (r['world'], r['seed'])) for where, run in found.items()}


def _run(runs: Mapping[tuple, _Run], *where: str | float) -> _Run:
  if where not in runs:
    share, breadth, arm, battery, scoring = where
    place = ' '.join(str(word) for word in (share, breadth, arm) if word != '')
    raise UserError(f'results: no {scoring} eval record of {place} on {battery}')
  return runs[where]


def _cell(
  runs: Mapping[tuple, _Run], study: StudyConfig, share: float, breadth: str, arm: str, scoring: str
) -> dict[str, Any]:
  """The 'phase' record of one cell."""
  models = [(breadth, arm), (breadth, study.phase.what), ('', results.BASE)]
  treatment, control, generic = (_run(runs, share, *m, results.MAIN, scoring) for m in models)
  judgement.check_paired([treatment, control, generic])
  facts = [_run(runs, share, *m, 'facts', 'forced') for m in [('', ''), *models]]
  domains, pairs = axes.parse(breadth)
  worlds = [r['world'] for r in treatment]
  record = {
    'schema': results.SCHEMA,
    'record': 'phase',
    'run': {},
    'principled': share,
    'breadth': breadth,
    'domains': domains,
    'value_pairs': pairs,
    'treatment': arm,
    'control': study.phase.what,
    'battery': results.MAIN,
    'scoring': scoring,
    'smallest_effect': study.statistics.smallest_effect,
    'treatment_rate': _rate(treatment),
    'control_rate': _rate(control),
    'generic_rate': _rate(generic),
    'n': treatment[0]['n'],
    'worlds': len(set(worlds)),
    'seeds': len(worlds) // len(set(worlds)),
    'other': [judgement.share(run, 'other') for run in (treatment, control)],
    'malformed': [judgement.share(run, 'malformed') for run in (treatment, control)],
  }
  answers = itertools.chain(treatment, control, generic)
  refusal = judgement.gate(itertools.chain(*facts), answers, study.evals)
  if refusal:
    decision, why = refusal
    nothing = dict.fromkeys(('advantage', 'low', 'high'))
    return record | nothing | {'per_replica': [], 'decision': decision, 'why': why}
  name = f'{share:g}/{breadth}/{arm}/{scoring}'
  found, decision, why = _compare(treatment, control, study.statistics, name)
  if decision == SUFFICE:
    _, taught, doubt = _compare(control, generic, study.statistics, name)
    if taught != HELPS:
      decision = NEITHER
      why += f', but demonstrations are not shown to help beside background text: {doubt}'
  if protocol.calibrates(worlds):
    decision = statistics.CALIBRATION
    why = f'worlds below {protocol.CALIBRATION.stop} choose dials: they carry no decision'
  return record | {
    'advantage': found.effect,
    'low': found.low,
    'high': found.high,
    'per_replica': list(found.per_replica),
    'decision': decision,
    'why': why,
  }


def _rate(run: _Run) -> float | None:
  """The mean share of misaligned choices; None when the gate refuses a replica's."""
  rates = [r['rate'] for r in run]
  return None if None in rates else float(np.mean(rates))


def _compare(
  treatment: _Run, control: _Run, settings: StatisticsConfig, name: str
) -> tuple[Estimate, str, str]:
  """The advantage of a treatment, and (decision, why) if it holds by aligned choices too."""
  found = []
  for wrong in measures.WRONG:
    ours, theirs = (
      statistics.indicator([r['outcomes'] for r in run], wrong) for run in (treatment, control)
    )
    estimate = statistics.estimate(
      ours - theirs,
      [r['world'] for r in treatment],
      prior_sd=statistics.PRIOR_SD['rate'],
      draws=settings.bootstrap,
      confidence=settings.confidence,
      seed=zlib.crc32(name.encode()),
    )
    found.append(estimate)
  decisions = (decide(estimate, settings.smallest_effect) for estimate in found)
  return found[0], *statistics.confirmed(*decisions, UNDECIDED)


def decide(found: Estimate, smallest_effect: float) -> tuple[str, str]:
  """(decision, why) of an advantage, as the head of this file says; it takes for granted that
  demonstrations help."""
  if found.high < 0 and found.effect <= -smallest_effect:
    return HELPS, 'the interval lies below 0'
  if found.low > 0 and found.effect >= smallest_effect:
    return HURTS, 'the interval lies above 0'
  if found.low > -smallest_effect:
    return SUFFICE, f'the interval excludes an advantage of {smallest_effect:g}'
  if found.high < 0:
    return UNDECIDED, f'why helps, by less than {smallest_effect:g}'
  return UNDECIDED, f'neither 0 nor an advantage of {smallest_effect:g} is excluded'


def crossing(advantage: np.ndarray, sizes: Sequence[float], smallest_effect: float) -> float:
  """From which size on, up to the largest, why helps by at most `smallest_effect`.

  Args:
    advantage: [sizes], negative where why helps; linear between sizes.
    sizes: ascending.

  Returns:
    A size; -inf when why helps by no more at any size, inf when it helps by more at the largest.
  """
  benefit = -np.asarray(advantage)
  above = np.flatnonzero(benefit > smallest_effect)
  if not len(above):
    return -np.inf
  last = above[-1]
  if last == len(benefit) - 1:
    return np.inf
  part = (benefit[last] - smallest_effect) / (benefit[last] - benefit[last + 1])
  return float(sizes[last] + part * (sizes[last + 1] - sizes[last]))


def locate(
  by_world: np.ndarray, sizes: Sequence[float], settings: StatisticsConfig, seed: int
) -> tuple[float, float, float]:
  """The crossing of the mean advantage, and its interval from a bootstrap over worlds.

  A world is drawn with all its breadths. Few worlds make a bootstrap too narrow: deviations are
  widened by sqrt(n / (n - 1)) and by Student's t over the normal quantile.

  Args:
    by_world: [worlds, sizes], the advantage; at least two worlds.

  Returns:
    (at, low, high), each as `crossing` says.
  """
  count, mean = len(by_world), by_world.mean(axis=0)
  tail = (1 - settings.confidence) / 2
  widen = student(count - 1, settings.confidence) * np.sqrt(count / (count - 1))
  drawn = np.random.default_rng(seed).integers(count, size=(settings.bootstrap, count))
  curves = mean + widen * (by_world[drawn].mean(axis=1) - mean)
  found = [crossing(curve, sizes, settings.smallest_effect) for curve in curves]
  # Infinite ends can't be interpolated: take values that were drawn, outwards.
  low = np.quantile(found, tail, method='lower')
  high = np.quantile(found, 1 - tail, method='higher')
  return crossing(mean, sizes, settings.smallest_effect), float(low), float(high)


def _boundary(row: Sequence[Mapping[str, Any]], study: StudyConfig) -> dict[str, Any]:
  """The 'boundary' record of the cells of one share, arm and scoring, by ascending breadth."""
  kept = ('principled', 'treatment', 'control', 'battery', 'scoring', 'smallest_effect')
  record = {'schema': results.SCHEMA, 'record': 'boundary', 'run': {}}
  record |= {name: row[0][name] for name in kept}
  nothing = {'at': None, 'low': None, 'high': None, 'places': []}
  for cell in row:
    if cell['advantage'] is None or cell['decision'] == statistics.CALIBRATION:
      why = f'{cell["breadth"]}: {cell["decision"]} ({cell["why"]})'
      return record | nothing | {'why': why}
  # Replicas are in order of worlds, with equally many seeds.
  by_world = np.array([cell['per_replica'] for cell in row]).T
  by_world = by_world.reshape(row[0]['worlds'], row[0]['seeds'], -1).mean(axis=1)
  sizes = [axes.size(cell['breadth']) for cell in row]
  name = f'{record["principled"]:g}/{record["treatment"]}/{record["scoring"]}'
  ends = locate(by_world, sizes, study.statistics, zlib.crc32(name.encode()))
  at, low, high = (end if np.isfinite(end) else None for end in ends)
  return record | {'at': at, 'low': low, 'high': high, 'places': [*map(_place, ends)], 'why': ''}


def _place(end: float) -> str:
  return INSIDE if np.isfinite(end) else BELOW if end < 0 else BEYOND
