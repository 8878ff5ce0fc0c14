"""One study of many worlds, read again as several studies of few: how often do they agree?

The groups are disjoint, and each is judged as if the others had never been run: the same claims, a
Holm family of its own. No claim is decided by it; it shows how far a verdict of a study of that
size can be trusted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from whyjax.config import EvalConfig, StatisticsConfig
from whyjax.study import judgement, statistics
from whyjax.study.claims import Claim

_WORDS = (statistics.SUPPORTED, statistics.CONTRADICTED, statistics.INCONCLUSIVE)


def replicate(
  records: Sequence[Mapping[str, Any]],
  claims: Sequence[Claim],
  settings: StatisticsConfig,
  gates: EvalConfig,
) -> list[dict[str, Any]]:
  """One 'replication' record a claim; none when `settings.split` is 0.

  Worlds are grouped in the order of their seeds, `settings.split` at a time.
  """
  groups = _groups(records, settings.split) if settings.split else []
  if not groups:
    return []
  studies = [
    judgement.judge([r for r in records if r.get('world') in group], claims, settings, gates)
    for group in groups
  ]
  return [_record(groups, verdicts) for verdicts in zip(*studies, strict=True)]


def _groups(records: Sequence[Mapping[str, Any]], size: int) -> list[list[int]]:
  worlds = sorted({r['world'] for r in records if r['record'] == 'eval'})
  return [worlds[i : i + size] for i in range(0, len(worlds), size)]


def _record(groups: Sequence[Sequence[int]], verdicts: Sequence[Mapping[str, Any]]) -> dict:
  """What the studies say of one claim."""
  words = [v['verdict'] for v in verdicts]
  counts = {word: words.count(word) for word in _WORDS}
  return {
    'record': 'replication',
    **{k: verdicts[0][k] for k in ('claim', 'statement', 'scoring')},
    'worlds': len(groups[0]),
    'studies': len(groups),
    **counts,
    'refused': len(words) - sum(counts.values()),
    'first_worlds': [group[0] for group in groups],
    'verdicts': words,
    'effects': [v['effect'] for v in verdicts],
  }
