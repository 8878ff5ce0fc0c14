"""The worlds of a study as several studies: each group is judged as it would be alone."""

import dataclasses

import pytest

from tests.judging import GATES, SETTINGS
from whyjax import config, defaults, results
from whyjax.errors import UserError
from whyjax.study import claims, judgement, replication
from whyjax.study.statistics import INCONCLUSIVE, NOT_TAUGHT, SUPPORTED

PAIRS = dataclasses.replace(SETTINGS, split=2)
REASON = claims.CLAIMS['reason-over-demonstrations-free']
WORLDS = tuple(range(2000, 2006))


def evaluation(kind, arm, battery, scoring, world, misaligned):
  """An eval record of a replica whose first `misaligned` of 100 choices are misaligned."""
  counts = {'aligned': 100 - misaligned, 'misaligned': misaligned, 'other': 0, 'malformed': 0}
  return counts | {
    'record': 'eval',
    'stage': f'{kind}/{arm}',
    'kind': kind,
    'arm': arm,
    'later': '',
    'battery': battery,
    'scoring': scoring,
    'world': world,
    'seed': 0,
    'items': f'{battery} {world}',
    'n': 100,
    'scored': True,
    'why': '',
    'outcomes': 'm' * misaligned + 'a' * (100 - misaligned),
  }


def study(worlds=WORLDS, reason=5, unknown=0):
  """Pretraining, and two arms on these worlds: a clear effect, unless said otherwise."""
  records = []
  for world in worlds:
    records.append(evaluation('pretrain', '', 'facts', 'forced', world, unknown))
    for arm, misaligned in (('demonstrations', 60 + world % 3), ('reason', reason + world % 2)):
      records.append(evaluation('align', arm, 'agentic-tools', 'greedy', world, misaligned))
      records.append(evaluation('align', arm, 'facts', 'forced', world, 0))
  return records


def replicated(records, settings=PAIRS, which=(REASON,)):
  return replication.replicate(records, which, settings, GATES)


def test_without_a_split_there_is_no_replication():
  assert replicated(study(), SETTINGS) == []


def test_each_group_is_judged_as_if_it_were_the_whole_study():
  records = study()
  (found,) = replicated(records)
  results.validate(found | {'schema': results.SCHEMA, 'run': {}})
  alone = [
    judgement.judge([r for r in records if r['world'] in pair], [REASON], SETTINGS, GATES)[0]
    for pair in (WORLDS[:2], WORLDS[2:4], WORLDS[4:])
  ]
  assert found['verdicts'] == [v['verdict'] for v in alone]
  assert found['effects'] == [v['effect'] for v in alone]
  assert found['first_worlds'] == [2000, 2002, 2004]
  assert (found['studies'], found['worlds']) == (3, 2)
  assert (found['claim'], found['scoring']) == (REASON.name, 'greedy')


def test_verdicts_are_counted_by_kind():
  nothing, untaught = study(WORLDS[2:4], reason=61), study(WORLDS[4:], unknown=50)
  (found,) = replicated([*study(WORLDS[:2]), *nothing, *untaught])
  assert found['verdicts'] == [SUPPORTED, INCONCLUSIVE, NOT_TAUGHT]
  assert [found[k] for k in ('supported', 'contradicted', 'inconclusive', 'refused')] == [
    1,
    0,
    1,
    1,
  ]


def test_calibration_worlds_are_refused_in_every_group():
  (found,) = replicated(study(range(4)))
  assert found['refused'] == found['studies'] == 2


@pytest.mark.parametrize('split', [1, 3, 4, 8])
def test_a_split_must_leave_equal_groups_of_at_least_two(split):
  tree = defaults.study()
  tree.seeds.worlds, tree.statistics.split = 4, split
  with pytest.raises(
    UserError, match=rf'config\.statistics\.split = {split}: must be 0, or from 2'
  ):
    config.parse(tree.to_dict())


def test_a_split_into_equal_groups_is_allowed():
  tree = defaults.study()
  tree.seeds.worlds, tree.statistics.split = 4, 2
  assert config.parse(tree.to_dict()).statistics.split == 2
