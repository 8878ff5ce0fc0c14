"""How many alignment tokens one arm needs to do as well as another: a ratio from dose curves.

The full dose of the control reaches some misaligned share: the *matched rate*, in every world its
own, because how far a given text reaches differs more between worlds than between arms. The ratio
of a world is the tokens that the treatment needs for that rate, over the tokens that the control
needs for it; what is averaged over worlds is its log10. One rate for all worlds would be beyond
the control's curve in about half of them: in simulations of four worlds half of the ratios were
then bounds, and the mean fell short by 0.03 to 0.13.

A curve is the share of choices that are wrong against log10 of the supervised tokens, its
replicas averaged, made to fall by isotonic regression (pool adjacent violators) and joined by
straight lines. No dose at all (the arm `generic`) has no place on a logarithmic axis and is not
used. A treatment that is there at its smallest dose, or is not there at its full one, is counted
with that dose, and such a world is reported as a bound: the truth lies farther from a ratio of 1.
Bounds never make a verdict: a world of the second kind counts as 1 or more and so breaks the
agreement that support asks for, one of the first kind as 1 or less, and forbids a contradiction.
Where the control levels off early, its tokens are those at which it does, not its full dose.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import math
from typing import Any

import numpy as np

from whyjax import results
from whyjax.errors import UserError

SMALLEST = math.log10(2)  # effect worth a claim, in log10 of the ratio: a factor of two


class Unmatched(Exception):
  """These curves allow no ratio; the message says why."""


@dataclasses.dataclass(frozen=True)
class Dose:
  """One dose of one arm: supervised tokens and eval records, an entry a replica, in their order."""

  tokens: Sequence[int]
  evals: Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Ratios:
  """Tokens that the treatment needs over those that the control needs, world by world.

  Attributes:
    log_ratios: log10 of the ratio in each world.
    matched: the rate at which each was taken.
    below: worlds where the treatment is better than that at its smallest dose already.
    beyond: worlds where it is not as good at its full dose.
    reach: log10 of the treatment's smallest dose over the control's tokens, mean over worlds.
  """

  log_ratios: tuple[float, ...]
  matched: tuple[float, ...]
  below: int
  beyond: int
  reach: float


def doses(records: Iterable[Mapping[str, Any]], arm: str, battery: str, scoring: str) -> list[Dose]:
  """What an arm does at each of its doses, smallest first; the last is the full one.

  Raises:
    UserError: it has no smaller dose, or was not asked this at one of them.
  """
  records = list(records)
  full = results.select(records, record='stage', kind='align', arm=arm)
  smaller = results.select(records, record='stage', kind='dose', arm=arm)
  if not full or not smaller:
    raise UserError(f'results: no doses of {arm}')
  asked = results.select(records, record='eval', arm=arm, battery=battery, scoring=scoring)
  found = []
  for stage in sorted(smaller, key=lambda s: sum(s['supervised_tokens'])) + full:
    evals = results.select(asked, stage=stage['stage'])
    if len(evals) != len(stage['supervised_tokens']):
      raise UserError(f'results: {stage["stage"]} lacks {scoring} eval records on {battery}')
    evals = sorted(evals, key=lambda r: (r['world'], r['seed']))
    found.append(Dose(stage['supervised_tokens'], evals))
  return found


def ratios(
  treatment: Sequence[Dose], control: Sequence[Dose], wrong: str, smallest_fall: float
) -> Ratios:
  """The ratio of tokens in each world, in ascending order of worlds.

  Args:
    wrong: the outcomes that count as wrong, as letters.
    smallest_fall: a control whose curve falls by less, in the mean over worlds, matches nothing.
  Raises:
    Unmatched: the curve of the control is flat, or the treatment crosses its rate in no world.
  """
  ours, theirs = _curves(treatment, wrong), _curves(control, wrong)
  fall = np.mean([rates[0] - rates[-1] for _, rates in theirs.values()])
  name = control[0].evals[0]['arm']
  if fall < smallest_fall:
    raise Unmatched(
      f'from its smallest to its full dose {name} falls by {max(fall, 0):.2f}, less than '
      f'{smallest_fall:g}: there is no rate that its tokens account for'
    )
  found, matched, sides, reach = [], [], [], []
  for world, (tokens, rates) in theirs.items():
    needed, _ = tokens_needed(tokens, rates, rates[-1])
    own, side = tokens_needed(*ours[world], rates[-1])
    # Full doses of two arms differ by a few tokens: a bound must not fall on the other side of 1.
    ratio = own - needed
    found.append(max(ratio, 0.0) if side > 0 else min(ratio, 0.0) if side < 0 else ratio)
    matched.append(float(rates[-1]))
    sides.append(side)
    reach.append(ours[world][0][0] - needed)
  result = Ratios(
    tuple(found), tuple(matched), sides.count(-1), sides.count(1), float(np.mean(reach))
  )
  if all(sides):
    raise Unmatched(_never_crosses(treatment[0].evals[0]['arm'], name, result))
  return result


def _never_crosses(treatment: str, control: str, found: Ratios) -> str:
  """Why there is no ratio, and what the doses at hand say nevertheless."""
  if not found.beyond:
    return (
      f'in every world {treatment} is at its smallest dose better than {control} at its full one: '
      f'it needs less than {results.factor(found.reach)} of the tokens, how much less takes '
      'smaller shares'
    )
  return (
    f'{treatment} crosses the rate of {control} at its full dose in no world: it is better at its '
    f'smallest dose in {found.below}, worse at its full dose in {found.beyond}'
  )


def _curves(arm: Sequence[Dose], wrong: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
  """For each world, (log10 tokens, falling rates) of its doses; means over its replicas."""
  from scipy import optimize  # slow to import, and a plan does without

  worlds = np.array([r['world'] for r in arm[0].evals])
  tokens = np.log10([dose.tokens for dose in arm])
  rates = np.array([[_share(r, wrong) for r in dose.evals] for dose in arm])
  return {
    int(world): (
      tokens[:, worlds == world].mean(axis=1),
      optimize.isotonic_regression(rates[:, worlds == world].mean(axis=1), increasing=False).x,
    )
    for world in np.unique(worlds)
  }


def _share(record: Mapping[str, Any], letters: str) -> float:
  return sum(record['outcomes'].count(letter) for letter in letters) / record['n']


def tokens_needed(tokens: np.ndarray, rates: np.ndarray, matched: float) -> tuple[float, int]:
  """(log10 tokens, side): where a falling curve first reaches a rate.

  Side is -1 where it is below at the smallest dose, +1 where it is above at the largest, and the
  tokens are then of that dose; else 0.

  Args:
    tokens: [doses], log10, ascending.
    rates: [doses], never rising.
  """
  if rates[0] <= matched:
    return float(tokens[0]), -1 if rates[0] < matched else 0
  if rates[-1] > matched:
    return float(tokens[-1]), 1
  i = int(np.argmax(rates <= matched))
  part = (rates[i - 1] - matched) / (rates[i - 1] - rates[i])
  return float(tokens[i - 1] + part * (tokens[i] - tokens[i - 1])), 0


def describe(found: Ratios, effect: float, low: float, high: float) -> str:
  """The ratio in words: what it is, at which rate, and what it rests on."""
  ratio, *ends = map(results.factor, (effect, low, high))
  rates = f'{np.mean(found.matched):.2f} ({min(found.matched):.2f} to {max(found.matched):.2f})'
  bounds = [
    f'{count} of {len(found.matched)} worlds {where}'
    for count, where in (
      (found.below, 'below it at the smallest dose'),
      (found.beyond, 'above it at the full dose'),
    )
    if count
  ]
  return f'needs {ratio} [{", ".join(ends)}] of the tokens for a misaligned share of {rates}' + (
    f'; bounds: {" and ".join(bounds)}' if bounds else ''
  )
