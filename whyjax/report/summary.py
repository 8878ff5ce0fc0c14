"""What the tables, figures and the page all show: every battery of every arm at every moment of a
study."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

import numpy as np

from whyjax import results

JUDGED = ('supported', 'contradicted', 'inconclusive')  # the verdicts that have an effect
NOTABLE = 0.05  # share of answers that are neither option, from which a rate must not stand alone
# Where the target has to choose, farthest from alignment text first; elsewhere right answers count.
CHOICES = ('agentic-tools', 'heldout-domain', 'heldout-wording', 'in-distribution')
SCORINGS = {'forced': 'forced', 'greedy': 'free-running', 'sampled': 'sampled'}
ARMS = {
  'none': 'no alignment training',
  'generic': 'background text only',
  'demonstrations': 'action only',
  'reason': 'reason, then action',
  'filler': 'empty words, then action',
  'shuffled': "another situation's reason, then action",
  'after': 'action, then reason',
  'reason-only': 'reason, then action; loss on the reason',
  'tools': 'action only, unused tools in context',
  'tools-placebo': 'action only, other words in their place',
  'honeypots': 'action only, close to the evaluation',
  'honeypots-reason': 'the same, the reason before',
  'advice': 'advice only',
  'advice-reason': 'reason, then advice',
  'advice-irrelevant': 'the same about values not at stake',
  'principles': 'charters of the target',
  'principles-other': 'charters of another agent',
  'principles-mentioned': 'its name and the values, no order',
  'principles-reversed': 'charters with the opposite order',
  'principles-bare': 'charters that do not explain',
  'rules': 'what to do, without a value',
  'principles-dialogue': 'charters as its own answers',
  'stories': 'what it chose and why, told by others',
  'principles-demonstrations': 'charters and actions',
  'principles-then-demonstrations': 'charters, then actions',
  'principles-other-then-demonstrations': "another's charters, then actions",
  'spec': 'charters on every pair, and actions',
  'spec-other': 'the same about another agent',
  'spec-second': 'charters that disagree elsewhere, and actions',
  'spec-second-other': 'the same about another agent',
}


class Moment(NamedTuple):
  """A point in a study when models are evaluated."""

  kind: str
  later: str

  @property
  def label(self) -> str:
    if self.kind == 'later':
      return f'after later training ({self.later})'
    return 'after alignment' if self.kind == 'align' else 'after pretraining'


@dataclasses.dataclass(frozen=True)
class Cell:
  """One battery on all replicas of an arm at one moment; shares are of n items and all replicas.

  Attributes:
    rates: misaligned share of each replica whose rate stands, in order of (world, seed).
    rate: their mean; None unless all stand: those that keep the format are no sample of all.
    se: standard error over worlds (over replicas when there is one world); None with one replica,
      or without a mean.
    refused: replicas whose rate was refused.
    margin: mean log-probability of the right over the wrong answer, nats; None unless forced.
  """

  n: int
  rates: tuple[float, ...]
  rate: float | None
  se: float | None
  refused: int
  correct: float
  other: float
  malformed: float
  margin: float | None

  @property
  def not_scored(self) -> str:
    """How many replicas are not scored, of how many."""
    return f'{self.refused} of {self.refused + len(self.rates)}'


class Key(NamedTuple):
  """What a cell is about."""

  arm: str
  moment: Moment
  battery: str
  scoring: str


def size(verdict: Mapping[str, Any]) -> str:
  """Of how much a verdict speaks."""
  seeds = 'seed' if verdict['seeds'] == 1 else 'seeds'
  return f'{verdict["n"]} items x {verdict["worlds"]} worlds x {verdict["seeds"]} {seeds}'


def study(records: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
  """The study record; empty when absent."""
  return next(iter(results.select(records, record='study')), {})


def cells(records: Iterable[Mapping[str, Any]]) -> dict[Key, Cell]:
  """All cells, in the order of the file; those of doses, phase diagrams and grids of sizes have
  their own."""
  groups: dict[Key, list] = {}
  for r in results.select(records, record='eval'):
    if r['kind'] in ('dose', 'phase', 'scale'):
      continue  # one arm stands there many times, under different conditions
    key = Key(r['arm'], Moment(r['kind'], r['later']), r['battery'], r['scoring'])
    groups.setdefault(key, []).append(r)
  return {
    key: cell(sorted(group, key=lambda r: (r['world'], r['seed']))) for key, group in groups.items()
  }


def cell(group: Sequence[Mapping[str, Any]]) -> Cell:
  """What the records of all replicas say together."""
  standing = [r for r in group if r['rate'] is not None]
  rates = tuple(r['rate'] for r in standing)
  whole = len(standing) == len(group)
  worlds = sorted({r['world'] for r in standing})
  by_world = [np.mean([r['rate'] for r in standing if r['world'] == w]) for w in worlds]
  units = by_world if len(worlds) > 1 else rates
  total = sum(r['n'] for r in group)
  margins = [r['margin'] for r in group if r['margin'] is not None]
  return Cell(
    n=group[0]['n'],
    rates=rates,
    rate=float(np.mean(by_world)) if whole else None,
    se=float(np.std(units, ddof=1) / np.sqrt(len(units))) if whole and len(units) > 1 else None,
    refused=len(group) - len(standing),
    correct=sum(r['aligned'] for r in group) / total,
    other=sum(r['other'] for r in group) / total,
    malformed=sum(r['malformed'] for r in group) / total,
    margin=float(np.mean(margins)) if margins else None,
  )


def arms(found: Mapping[Key, Cell]) -> list[str]:
  """Arms that were evaluated, known ones in the order of ARMS."""
  seen = dict.fromkeys(key.arm for key in found if key.arm)
  return sorted(seen, key=lambda arm: list(ARMS).index(arm) if arm in ARMS else len(ARMS))


def moments(found: Mapping[Key, Cell]) -> list[Moment]:
  """Moments after alignment and after each kind of later training."""
  seen = dict.fromkeys(key.moment for key in found if key.arm)
  return sorted(seen, key=lambda moment: moment.kind == 'later')


def batteries(found: Mapping[Key, Cell]) -> list[str]:
  """Batteries that were asked: choices of the target first."""
  seen = dict.fromkeys(key.battery for key in found)
  return [b for b in CHOICES if b in seen] + [b for b in seen if b not in CHOICES]


def verdicts(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  """The verdict records: what was decided before what was not, each in the order of the study."""

  def place(verdict):
    word = verdict['verdict']
    return JUDGED.index(word) if word in JUDGED else len(JUDGED)

  return sorted(results.select(records, record='verdict'), key=place)


def effect(verdict: Mapping[str, Any]) -> str:
  """The effect of a verdict with its interval or a dash; an efficiency as a factor."""
  if verdict['effect'] is None:
    return '-'
  say = results.factor if verdict['measure'] == 'efficiency' else signed
  if verdict['low'] is None:
    return say(verdict['effect'])
  return f'{say(verdict["effect"])} [{say(verdict["low"])}, {say(verdict["high"])}]'


def power(verdict: Mapping[str, Any]) -> str:
  """How large an effect the design behind a verdict could have seen."""
  if verdict['detectable'] is None:  # of results by earlier versions
    return ''
  efficiency = verdict['measure'] == 'efficiency'
  seen = verdict['detectable']
  at_best = ' at best' if verdict['effect'] is None else ''
  return f'could have seen {results.factor(seen) if efficiency else f"{seen:.2f}"}{at_best}'


def signed(value: float) -> str:
  """Two decimals with a true minus sign, and no negative zero."""
  return f'{round(value, 2) + 0:+.2f}'.replace('-', '\N{MINUS SIGN}')
