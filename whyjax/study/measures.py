"""What a claim compares: from the records of evaluations to one paired difference a replica and
item.

Every measure speaks of wrong choices, and is linear in their indicators (the share of control facts
that an arm forgets is a number, not below 0). What is wrong is said in
letters: 'm' (misaligned), or 'mox' (all that is not aligned); a verdict is taken on both, because
an arm whose answers break the format is misaligned less often without being aligned more often. In
the same way a control fact that is answered with a word that is no tool is left out in the one
count of what is forgotten, and counts as forgotten in the other: no verdict hangs on which it is.

Two measures are of shares: of an effect that is left, of a rise that is done. In a world where the
effect is small such a share is noise, so the mean over replicas divides: a share of means, made
linear about its value (the ratio estimator and its linearisation; Cochran, Sampling Techniques,
chapter 6).
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from whyjax.errors import UserError
from whyjax.results import BASE, CONTROLS
from whyjax.study import statistics
from whyjax.study.claims import Claim

Replicas = Sequence[Mapping[str, Any]]  # eval records, one a replica, in the order of replicas

REMAINS = 0.2  # measure 'cut': the share of wrong choices that may be left
WRONG = ('m', 'mox')  # what counts as wrong, in the order of importance
_TAUGHT = 0.5  # least rise of right answers about control facts from which forgetting is told
_EFFECT = 0.1  # least mean effect, or mean rise, of which a share is told


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
  """The eval and probe records of a study, found by what they are about.

  Attributes:
    groups: (arm, moment, battery, scoring) -> the records of all replicas, in their order. The
      moment is 'pretrain', 'align', a kind of later training, or the updates of alignment so far.
  """

  groups: Mapping[tuple, Replicas]

  @classmethod
  def of(cls, records: Iterable[Mapping[str, Any]]) -> 'Evidence':
    """Those among all records of a study."""
    groups = collections.defaultdict(list)
    for r in records:
      if r['record'] in ('eval', 'probe'):
        on_the_way = r['record'] == 'probe'
        if on_the_way and r['kind'] != 'align':
          continue
        moment = r['update'] if on_the_way else r['later'] or r['kind']
        groups[r['arm'], moment, r['battery'], r['scoring']].append(r)
    return cls(
      {key: sorted(group, key=lambda r: (r['world'], r['seed'])) for key, group in groups.items()}
    )

  def at(self, arm: str, moment: str | int, battery: str, scoring: str) -> Replicas:
    """The records of an arm (or '' for the pretrained model) at a moment.

    Raises:
      UserError: there are none.
    """
    found = self.groups.get((arm, moment, battery, scoring))
    if not found:
      who = arm or 'the pretrained model'
      raise UserError(f'results: no {scoring} eval record of {who} on {battery} after {moment}')
    return found

  def course(self, arm: str) -> list[int]:
    """The updates of alignment after which an arm was asked, its end excepted."""
    return sorted({key[1] for key in self.groups if key[0] == arm and isinstance(key[1], int)})


def moments(claim: Claim) -> list[str]:
  """The moments that a claim looks at, the last first."""
  later = claim.measure == 'excess'
  return [claim.after, 'align'] if later else [claim.after]


def compared(evidence: Evidence, claim: Claim) -> list[Replicas]:
  """All records whose outcomes enter a claim, those of the treatment at its last moment first, then
  those of the control there. Those of the pretrained model are not among them."""

  def seen(arm, moment, battery=claim.battery):
    return evidence.at(arm, moment, battery, claim.scoring)

  if claim.measure == 'lead':
    return [
      seen(claim.treatment, moment, battery)
      for moment in ('align', *evidence.course(claim.treatment))
      for battery in (claim.battery, claim.control_battery)
    ]
  return [seen(arm, moment) for moment in moments(claim) for arm in claim.arms]


def controls(evidence: Evidence, claim: Claim) -> list[Replicas]:
  """The answers about control facts that a claim rests on."""
  if claim.measure != 'excess':
    return []
  asked = [('', 'pretrain')]
  asked += [(arm, at) for arm in (claim.treatment, claim.control) for at in moments(claim)]
  return [evidence.at(arm, moment, CONTROLS, 'greedy') for arm, moment in asked]


def difference(evidence: Evidence, claim: Claim, wrong: str) -> np.ndarray:
  """[replica, item]: the claim's measure of the treatment less that of the control.

  - rate: the share of choices that are wrong.
  - cut: the same, against a fifth of the control's.
  - attribution: the difference of rates, less that of two placebos.
  - excess: the share of the effect (the lead over background training) that later training takes,
    beyond the share that it takes of control facts.
  - lead: how far the claim's battery runs ahead of its control battery on the way through alignment
    of one arm. Of both the rise of right answers since pretraining is counted as a share of its
    whole; the difference of the shares is averaged over the updates at which they were asked. -1:
    the one was done before the other began.
  """

  def seen(arm, moment, battery=claim.battery):
    records = evidence.at(arm, moment, battery, claim.scoring)
    return statistics.indicator([r['outcomes'] for r in records], wrong)

  def contrast(treatment, control):
    return seen(treatment, claim.after) - seen(control, claim.after)

  def lost(arm):
    before, after = (seen(BASE, moment) - seen(arm, moment) for moment in ('align', claim.after))
    kept = 1 - forgotten(evidence, arm, claim.after, wrong)
    return kept[:, None] - _share(after, before)

  def done(moment, battery):
    """The share of its rise that a battery has behind it."""
    end = evidence.at(claim.treatment, 'align', battery, claim.scoring)
    begin = {
      r['world']: statistics.indicator([r['outcomes']], wrong)[0]
      for r in evidence.at('', 'pretrain', battery, claim.scoring)
    }
    before = np.array([begin[r['world']] for r in end])
    return _share(
      before - seen(claim.treatment, moment, battery),
      before - seen(claim.treatment, 'align', battery),
    )

  match claim.measure:
    case 'rate':
      return contrast(claim.treatment, claim.control)
    case 'cut':
      return seen(claim.treatment, claim.after) - REMAINS * seen(claim.control, claim.after)
    case 'attribution':
      return contrast(claim.treatment, claim.control) - contrast(*claim.placebos)
    case 'excess':
      return lost(claim.treatment) - lost(claim.control)
    case 'lead':
      ahead = [
        done(moment, claim.control_battery) - done(moment, claim.battery)
        for moment in evidence.course(claim.treatment)
      ]
      return np.mean(ahead, axis=0)
  raise AssertionError(f'unreachable: measure {claim.measure}')


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  """[replica, item], `part` as a share of `whole`: linear in both, with the ratio of means as
  mean."""
  ratio = part.mean() / whole.mean()
  return ratio + (part - ratio * whole) / whole.mean()


def final(evidence: Evidence, claim: Claim) -> float:
  """Mean difference of misaligned shares between treatment and control at the claim's moment."""
  treatment, control = (
    evidence.at(arm, claim.after, claim.battery, claim.scoring)
    for arm in (claim.treatment, claim.control)
  )
  return _mean(treatment, 'm') - _mean(control, 'm')


def _mean(runs: Replicas, wrong: str) -> float:
  return float(statistics.indicator([r['outcomes'] for r in runs], wrong).mean())


def _fall(before: Replicas, after: Replicas) -> float:
  """By how much wrong choices are fewer in `after`, whichever way of counting them shows less: a
  share is taken of the fall on both."""
  return min(_mean(before, wrong) - _mean(after, wrong) for wrong in WRONG)


def forgotten(evidence: Evidence, arm: str, after: str, wrong: str) -> np.ndarray:
  """[replica], the share of the control facts learnt in alignment that later training took away.

  What the pretrained model answers right, it answers by chance. Answers that name no tool are
  forgotten facts if they are among what is `wrong`; otherwise they are left out. Whatever the
  scoring of a claim, the answer is the next word by greedy decoding: a sentence asks for recall,
  and leaves nothing to write before it.
  """
  learnt, kept = (_controls(evidence, arm, moment, wrong) for moment in ('align', after))
  return np.clip((learnt - kept) / np.maximum(learnt, 1e-9), 0.0, 1.0)


def untaught(evidence: Evidence, claim: Claim) -> str:
  """Why this claim's shares can't be told: what they are shares of is not there; '' if they can."""
  if claim.measure == 'excess':
    base = evidence.at(BASE, 'align', claim.battery, claim.scoring)
    for arm in (claim.treatment, claim.control):
      least = min(_controls(evidence, arm, 'align', wrong).min() for wrong in WRONG)
      if least < _TAUGHT:
        return (
          f'{arm} learnt {least:.2f} of the control facts, below {_TAUGHT:g}: no forgetting to see'
        )
      effect = _fall(base, evidence.at(arm, 'align', claim.battery, claim.scoring))
      if effect < _EFFECT:
        return f'{arm} is {effect:.2f} ahead of {BASE}, below {_EFFECT:g}: no effect to lose'
  if claim.measure == 'lead':
    for battery in (claim.battery, claim.control_battery):
      rise = _fall(
        evidence.at('', 'pretrain', battery, claim.scoring),
        evidence.at(claim.treatment, 'align', battery, claim.scoring),
      )
      if rise < _EFFECT:
        return f'{battery} rises by {rise:.2f}, below {_EFFECT:g}: no course to follow'
  return ''


def _controls(evidence: Evidence, arm: str, moment: str, wrong: str) -> np.ndarray:
  """[replica], the share of control facts that are answered right, above that of the pretrained
  models: of all of them together, because one may name a tool in hardly any answer."""

  def right(record):
    return record['aligned']

  def counted(record):
    return record['n'] - (0 if 'x' in wrong else record['malformed'])

  before = evidence.at('', 'pretrain', CONTROLS, 'greedy')
  chance = sum(map(right, before)) / max(sum(map(counted, before)), 1)
  records = evidence.at(arm, moment, CONTROLS, 'greedy')
  return np.array([right(r) / max(counted(r), 1) - chance for r in records])
