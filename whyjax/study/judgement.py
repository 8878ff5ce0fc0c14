"""What the outcomes say about a claim: gates, then effects, then a verdict that may be "no"."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import itertools
from typing import Any
import zlib

import numpy as np

from whyjax import results
from whyjax.config import EvalConfig, StatisticsConfig
from whyjax.errors import UserError
from whyjax.study import audited, efficiency, measures, protocol, statistics
from whyjax.study.claims import Claim


@dataclasses.dataclass(frozen=True)
class _Weight:
  """What the records say about one claim.

  Attributes:
    refusal: (verdict, why) when no effect may be computed, else None.
    misaligned: effect on misaligned choices; None when refused.
    unaligned: the same for all that is not aligned; they differ in the answers that are neither.
    final: mean difference in the rate at the last stage, treatment minus control.
    ratios: of tokens, by misaligned choices, when the claim is about an efficiency.
  """

  fields: Mapping[str, Any]
  refusal: tuple[str, str] | None
  misaligned: statistics.Estimate | None = None
  unaligned: statistics.Estimate | None = None
  final: float = 0.0
  ratios: efficiency.Ratios | None = None


def judge(
  records: Iterable[Mapping[str, Any]],
  claims: Sequence[Claim],
  settings: StatisticsConfig,
  gates: EvalConfig,
) -> list[dict[str, Any]]:
  """One verdict record a claim, in order.

  A verdict must hold for misaligned choices and for all that are not aligned (`measures.WRONG`).
  Holm's family is all claims that pass the gates, for support and for contradiction each.
  """
  records = audited.with_audits(records)
  evidence = measures.Evidence.of(records)
  found = [
    _weigh_doses(records, claim, settings, gates)
    if claim.measure == 'efficiency'
    else _weigh(evidence, claim, settings, gates)
    for claim in claims
  ]
  judged = [(c, e) for c, e in zip(claims, found, strict=True) if e.refusal is None]
  by_misaligned = _adjusted([(c, e.misaligned) for c, e in judged], settings)
  by_unaligned = _adjusted([(c, e.unaligned) for c, e in judged], settings)
  adjusted = zip(by_misaligned, by_unaligned, strict=True)
  return [
    _refused(claim, e, len(judged) + 1, settings)
    if e.refusal
    else _judged(claim, e, *next(adjusted), len(judged), settings)
    for claim, e in zip(claims, found, strict=True)
  ]


def _adjusted(
  found: Sequence[tuple[Claim, statistics.Estimate]], settings: StatisticsConfig
) -> list[tuple[float, float]]:
  """After Holm over all these claims: p that there is no effect, and that there is one of the size
  that is claimed."""
  none = statistics.holm([e.p for _, e in found])
  short = statistics.holm([e.p_short(c.direction, _smallest(c, settings)) for c, e in found])
  return list(zip(none, short, strict=True))


def _weigh(
  evidence: measures.Evidence, claim: Claim, settings: StatisticsConfig, gates: EvalConfig
) -> _Weight:
  """The effects of treatment against control, unless a gate refuses."""
  compared = measures.compared(evidence, claim)
  check_paired(compared, same_items=claim.measure != 'lead')
  worlds = [r['world'] for r in compared[0]]
  fields = _design(*compared[:2])
  if refusal := _refusal(evidence, claim, compared, gates) or _no_verdict(worlds):
    return _Weight(fields, refusal)
  misaligned, unaligned = (
    _estimate(claim, measures.difference(evidence, claim, wrong), worlds, settings)
    for wrong in measures.WRONG
  )
  return _Weight(fields, None, misaligned, unaligned, measures.final(evidence, claim))


def _weigh_doses(records, claim: Claim, settings: StatisticsConfig, gates: EvalConfig) -> _Weight:
  """The ratio of tokens that treatment and control need, unless a gate refuses."""
  arms = claim.treatment, claim.control
  treatment, control = (
    efficiency.doses(records, arm, claim.battery, claim.scoring) for arm in arms
  )
  runs = [dose.evals for dose in (*treatment, *control)]
  check_paired(runs)
  fields = _design(treatment[-1].evals, control[-1].evals)
  facts = results.select(records, record='eval', kind='pretrain', battery='facts', scoring='forced')
  for arm in arms:
    for dose in efficiency.doses(records, arm, 'facts', 'forced'):
      facts = facts + list(dose.evals)
  worlds = sorted({r['world'] for r in runs[0]})
  if refusal := gate(facts, itertools.chain(*runs), gates) or _no_verdict(worlds):
    return _Weight(fields, refusal)
  try:
    found, strict = (
      efficiency.ratios(treatment, control, wrong, settings.smallest_effect)
      for wrong in measures.WRONG
    )
  except efficiency.Unmatched as unmatched:
    return _Weight(fields, (statistics.INCONCLUSIVE, str(unmatched)))
  fields |= {
    'matched_rates': list(found.matched),
    'worlds_below': found.below,
    'worlds_beyond': found.beyond,
  }
  misaligned, unaligned = (
    _estimate(claim, np.array(ratios.log_ratios)[:, None], worlds, settings)
    for ratios in (found, strict)
  )
  return _Weight(fields, None, misaligned, unaligned, ratios=found)


def _design(treatment, control) -> dict[str, Any]:
  """The size of a comparison, and the answers of its last stages that are not counted."""
  count = len({r['world'] for r in treatment})
  return {
    'n': treatment[0]['n'],
    'worlds': count,
    'seeds': len(treatment) // count,
    'other': [share(arm, 'other') for arm in (treatment, control)],
    'malformed': [share(arm, 'malformed') for arm in (treatment, control)],
  }


def _estimate(
  claim: Claim, difference: np.ndarray, worlds: Sequence[int], settings: StatisticsConfig
) -> statistics.Estimate:
  return statistics.estimate(
    difference,
    worlds,
    prior_sd=statistics.PRIOR_SD[claim.measure],
    draws=settings.bootstrap,
    confidence=settings.confidence,
    seed=zlib.crc32(claim.name.encode()),
  )


def _no_verdict(worlds: Sequence[int]) -> tuple[str, str] | None:
  """(verdict, why) when these worlds carry none."""
  if protocol.calibrates(worlds):
    why = f'worlds below {protocol.CALIBRATION.stop} choose dials: they carry no verdict'
    return statistics.CALIBRATION, why
  if len(set(worlds)) < protocol.LEAST_WORLDS:
    why = 'one world says nothing about others: at least 2 are needed'
    return statistics.INCONCLUSIVE, why
  return None


def check_paired(runs: Sequence[measures.Replicas], *, same_items: bool = True) -> None:
  """All stages must have been asked in the same replicas, and the same items.

  Args:
    runs: for each stage, its eval records on one battery in the order of replicas.
    same_items: False where the items are those of different batteries, in equal number.

  Raises:
    UserError: they were not.
  """

  def asked(stage):
    return [(r['world'], r['seed'], r['n'], same_items and r['items']) for r in stage]

  for stage in runs:
    if asked(stage) != asked(runs[0]) or {r['n'] for r in stage} != {runs[0][0]['n']}:
      stages = f'{runs[0][0]["stage"]} and {stage[0]["stage"]}'
      raise UserError(f'results: {stages} differ in replicas or items on {stage[0]["battery"]}')


def share(runs: measures.Replicas, outcome: str) -> float:
  """How much of all answers of all replicas has an outcome."""
  return sum(r[outcome] for r in runs) / sum(r['n'] for r in runs)


def _refusal(
  evidence: measures.Evidence,
  claim: Claim,
  compared: Sequence[measures.Replicas],
  gates: EvalConfig,
) -> tuple[str, str] | None:
  """(verdict, why) when the models or the answers behind a claim can't carry it."""
  facts = list(evidence.groups.get(('', 'pretrain', 'facts', 'forced'), ()))
  for arm in claim.arms:
    for moment in measures.moments(claim):
      facts += evidence.at(arm, moment, 'facts', 'forced')
  if refusal := gate(facts, itertools.chain(*compared), gates):
    return refusal
  # A model that was never taught the control facts may well answer without naming a tool.
  if doubt := audited.refusal([*itertools.chain(*measures.controls(evidence, claim))]):
    return statistics.NOT_SCORED, doubt
  why = measures.untaught(evidence, claim)
  return (statistics.NOT_TAUGHT, why) if why else None


def gate(
  facts: Iterable[Mapping[str, Any]], answers: Iterable[Mapping[str, Any]], gates: EvalConfig
) -> tuple[str, str] | None:
  """(verdict, why) when no effect may be computed: the answers are not those of the weights, a
  model lacks the facts, or its answers can't be read; one replica is enough. None when it may.

  Args:
    facts: eval records (of `audited.with_audits`) of what the models behind an effect know of the
      facts, forced.
    answers: those that the effect would rest on.
    gates: the limits.
  """
  facts, answers = list(facts), list(answers)
  if doubt := audited.refusal([*facts, *answers]):
    return statistics.NOT_SCORED, doubt
  for r in facts:
    known = r['aligned'] / r['n']
    if known < gates.knowledge_gate:
      why = f'{_where(r)} knows {known:.2f} of the facts, below {gates.knowledge_gate:g}'
      return statistics.NOT_TAUGHT, why
  for r in answers:
    malformed = r['malformed'] / r['n']
    if malformed > gates.malformed_gate:
      why = (
        f'{malformed:.2f} of the answers of {_where(r)} are malformed, above '
        f'{gates.malformed_gate:g}'
      )
      return statistics.NOT_SCORED, why
    if not r['scored']:
      return statistics.NOT_SCORED, f'{_where(r)}: {r["why"]}'
  return None


def _where(record: Mapping[str, Any]) -> str:
  return f'{record["stage"]} (world {record["world"]}, seed {record["seed"]})'


def _refused(
  claim: Claim, weight: _Weight, claims: int, settings: StatisticsConfig
) -> dict[str, Any]:
  """The verdict record of a claim without an effect."""
  nothing = dict.fromkeys(('effect', 'low', 'high', 'se', 'p', 'p_holm'))
  at_best = statistics.least_detectable(
    claim.measure, worlds=weight.fields['worlds'], claims=claims, confidence=settings.confidence
  )
  detectable = max(at_best, _smallest(claim, settings))
  verdict, why = weight.refusal
  return _record(
    claim,
    weight,
    settings,
    **nothing,
    detectable=detectable,
    per_replica=[],
    verdict=verdict,
    why=why,
  )


def _judged(
  claim: Claim,
  weight: _Weight,
  p: tuple[float, float],
  p_unaligned: tuple[float, float],
  claims: int,
  settings: StatisticsConfig,
) -> dict[str, Any]:
  """The verdict record of a claim with an effect; the pairs of p are those of `_adjusted`."""
  limits = {'confidence': settings.confidence, 'smallest_effect': _smallest(claim, settings)}
  say = results.factor if claim.measure == 'efficiency' else '{:.2g}'.format
  found = weight.misaligned
  verdict, why = statistics.confirmed(
    *(
      statistics.decide(estimate, *p, direction=claim.direction, say=say, **limits)
      for estimate, p in ((found, p), (weight.unaligned, p_unaligned))
    ),
    statistics.INCONCLUSIVE,
  )
  ahead = -weight.final if claim.direction == 'lower' else weight.final
  if (
    claim.measure == 'excess'
    and verdict == statistics.SUPPORTED
    and ahead < settings.smallest_effect
  ):
    why = 'the treatment keeps more of its effect but does not end better: it had less to lose'
    verdict = statistics.INCONCLUSIVE
  elif verdict == statistics.CONTRADICTED and weight.ratios and weight.ratios.below:
    why = f'{why}, but the worlds that are bounds may lie far in the claimed direction'
    verdict = statistics.INCONCLUSIVE
  if weight.ratios:
    ratio = efficiency.describe(weight.ratios, found.effect, found.low, found.high)
    why = f'{ratio}; {why}'
  outcome = {name: getattr(found, name) for name in ('effect', 'low', 'high', 'se', 'p')}
  strict = {name: getattr(weight.unaligned, name) for name in ('effect', 'low', 'high')}
  return _record(
    claim,
    weight,
    settings,
    **outcome,
    p_holm=p[0],
    p_short=p[1],
    strict=strict | {'p_holm': p_unaligned[0], 'p_short': p_unaligned[1]},
    detectable=statistics.detectable(found, claims=claims, **limits),
    per_replica=list(found.per_replica),
    verdict=verdict,
    why=why,
  )


def _smallest(claim: Claim, settings: StatisticsConfig) -> float:
  """The claim's own smallest effect of interest, or that of the study."""
  own = claim.smallest_effect
  return settings.smallest_effect if own is None else own


def _record(claim: Claim, weight: _Weight, settings: StatisticsConfig, **outcome) -> dict[str, Any]:
  """Claim, weight and outcome as one record."""
  known = dataclasses.asdict(claim)
  kind = {'schema': results.SCHEMA, 'record': 'verdict', 'run': {}, 'claim': known.pop('name')}
  return kind | known | weight.fields | {'smallest_effect': _smallest(claim, settings)} | outcome
