"""The grid of a phase study: what it may be, and that its cells differ in nothing but its axes."""

import itertools

import numpy as np
import pytest

from whyjax import config, defaults
from whyjax.corpus import arms
from whyjax.errors import UserError
from whyjax.study import axes, graph
from whyjax.world.world import build_world

KINDS = np.array([0.75, 0.25])  # of the agents that are not principled


def _study(**changes) -> config.StudyConfig:
  tree = defaults.study('cpu')
  tree.kind = 'phase'
  tree.arms = ('generic', 'demonstrations', 'reason')
  tree.seeds.update(dict(worlds=6, per_world=1))
  tree.phase.update(
    dict(principled=(0.0, 0.2), breadths=('1x1', '1x6', '2x6'), what='demonstrations')
  )
  tree.update(changes)
  return config.parse(tree.to_dict())


def test_stages_are_a_grid_and_the_arm_without_text_stands_once_a_share():
  stages = graph.stages(_study())
  assert [s.name for s in stages][:8] == [
    'pretrain/0',
    'phase/0/generic',
    'phase/0/1x1/demonstrations',
    'phase/0/1x1/reason',
    'phase/0/1x6/demonstrations',
    'phase/0/1x6/reason',
    'phase/0/2x6/demonstrations',
    'phase/0/2x6/reason',
  ]
  assert len(stages) == 16 == len({s.id for s in stages})
  by_name = {s.name: s for s in stages}
  cell = by_name['phase/20/2x6/reason']
  assert cell.parent is by_name['pretrain/20'] and by_name['pretrain/20'].kind == 'pretrain'
  assert cell.fields() == {
    'stage': 'phase/20/2x6/reason',
    'kind': 'phase',
    'arm': 'reason',
    'later': '',
    'principled': 0.2,
    'breadth': '2x6',
  }
  assert by_name['phase/20/generic'].fields()['breadth'] == ''
  assert cell.training == cell.study.align and cell.trains
  assert len(cell.corpora) == len(cell.replicas) == 6


def test_a_cell_is_what_an_ordinary_study_with_these_dials_trains():
  tree = defaults.study('cpu')
  tree.arms = ('reason',)
  tree.seeds.update(dict(worlds=6, per_world=1))
  ordinary = {s.name: s for s in graph.stages(config.parse(tree.to_dict()))}
  cells = {s.name: s for s in graph.stages(_study())}
  assert cells['pretrain/20'].id == ordinary['pretrain'].id
  assert cells['phase/20/1x6/reason'].corpora == ordinary['align/reason'].corpora
  assert cells['phase/0/1x6/reason'].corpora != ordinary['align/reason'].corpora


def test_an_axis_changes_the_stages_that_depend_on_it_and_no_others():
  before = {s.name: s.id for s in graph.stages(_study())}
  wider = dict(principled=(0.0, 0.2, 0.5), breadths=('1x1', '1x3', '2x6'), what='demonstrations')
  after = {s.name: s.id for s in graph.stages(_study(phase=wider))}
  shared = before.keys() & after.keys()
  assert 'phase/0/2x6/reason' in shared and 'phase/0/1x6/reason' not in shared
  assert {name: before[name] for name in shared} == {name: after[name] for name in shared}


def test_others_keep_their_ratio_and_worlds_differ_in_kinds_alone():
  study = _study(world={'principled': 0.2, 'by_domain': 0.6, 'by_tools': 0.2})
  for share in (0.0, 0.2, 0.5, 1.0):
    world = axes.at_share(study, share).world
    assert world.by_domain == pytest.approx(0.75 * (1 - share))
    assert world.principled + world.by_domain + world.by_tools == pytest.approx(1)
    kinds = np.bincount(build_world(world, 1000).kinds[1:], minlength=3)
    np.testing.assert_array_equal(kinds, np.round(80 * np.array([share, *(1 - share) * KINDS])))
  narrow, broad = (build_world(axes.at_share(study, share).world, 1000) for share in (0.0, 1.0))
  np.testing.assert_array_equal(narrow.actions, broad.actions)
  np.testing.assert_array_equal(narrow.constitution, broad.constitution)


def test_broader_text_contains_the_pairs_and_domains_of_narrower_text():
  study = _study()
  world = build_world(study.world, 1000)
  texts = [axes.at_breadth(study, breadth).align_text for breadth in ('1x1', '1x3', '2x6')]
  for narrow, broad in itertools.pairwise(texts):
    assert set(arms.training_pairs(world, narrow)) < set(arms.training_pairs(world, broad))
    assert set(arms.training_domains(narrow)) <= set(arms.training_domains(broad))
  assert [len(arms.training_pairs(world, text)) for text in texts] == [1, 3, 6]
  assert {text.supervised_tokens for text in texts} == {study.align_text.supervised_tokens}


def _phase(**changes):
  grid = dict(principled=(0.0, 0.2), breadths=('1x1', '1x6'), what='demonstrations')
  return {'phase': grid | changes}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (_phase(principled=(0.2,)), r'config\.phase\.principled = \(0\.2,\): must be at least 2'),
    (_phase(principled=(0.5, 0.2)), r'config\.phase\.principled = .*: must be ascending'),
    (_phase(principled=(0.2, 0.2001)), r'config\.phase\.principled = .*: must be ascending'),
    (
      _phase() | {'world': {'principled': 1.0, 'by_domain': 0.0, 'by_tools': 0.0}},
      r'config\.world\.by_domain \+ by_tools = 0\.0: must be above 0',
    ),
    (_phase(breadths=('1x1', '1by6')), r"config\.phase\.breadths = '1by6': must be DOMAINSxPAIRS"),
    (_phase(breadths=('0x1', '1x6')), r"config\.phase\.breadths = '0x1': must be DOMAINSxPAIRS"),
    (_phase(breadths=('1x1', '3x6')), r"config\.phase\.breadths = '3x6': must be of fewer domains"),
    (
      _phase(breadths=('1x1', '1x7')),
      r"config\.phase\.breadths = '1x7': must be of at most .* = 6",
    ),
    (_phase(breadths=('1x6',)), r"config\.phase\.breadths = \('1x6',\): must be at least 2"),
    (_phase(breadths=('1x6', '1x1')), r'config\.phase\.breadths = .*: must be ascending'),
    (_phase(breadths=('1x6', '2x3')), r'config\.phase\.breadths = .*: must be ascending'),
    (
      {'evals': {'batteries': ('agentic-tools', 'facts', 'heldout-pairs')}}
      | {'align_text': {'value_pairs': 3}},
      r"config\.phase\.breadths = '1x6': must be of fewer than 6 value pairs when",
    ),
    ({'arms': ('demonstrations', 'reason')}, r"config\.arms = .*: must be with 'generic'"),
    (
      _phase(what='advice'),
      r"config\.phase\.what = 'advice': .*; there: demonstrations, reason",
    ),
    (
      _phase(what='generic'),
      r"config\.phase\.what = 'generic': must be an arm with alignment text",
    ),
    (
      {'arms': ('generic', 'demonstrations')},
      r"config\.arms = .*: must be with an arm beside 'generic' and phase\.what = 'demonstrations'",
    ),
    (
      {'arms': ('generic', 'demonstrations', 'none')},
      r"config\.arms = 'none': must be an arm that trains",
    ),
    (
      {'arms': ('generic', 'demonstrations', 'principles-then-demonstrations')},
      r"config\.arms = 'principles-then-demonstrations': must be no arm that starts from another",
    ),
    ({'arms': ('generic', 'demonstrations', 'reasn')}, r"config\.arms = 'reasn': unknown"),
    ({'seeds': {'worlds': 1}}, r'config\.seeds\.worlds = 1: must be at least 2'),
  ],
)
def test_impossible_grid_is_refused_in_one_line(changes, message):
  with pytest.raises(UserError, match='^' + message) as error:
    graph.stages(_study(**changes))
  assert '\n' not in str(error.value)
