"""Stages have the right parents, order, seeds and identities."""

import dataclasses

import pytest

from whyjax import config, defaults
from whyjax.errors import UserError
from whyjax.study import graph


def _study(**changes) -> config.StudyConfig:
  """A study of three arms, two of which go on; groups of fields are given as dicts."""
  tree = defaults.study('cpu')
  tree.arms = ('none', 'generic', 'reason')
  tree.later_arms = ('none', 'reason')
  tree.later = ('neutral', 'capability')
  tree.update(changes)
  return config.parse(tree.to_dict())


def _ids(study: config.StudyConfig) -> dict[str, str]:
  return {stage.name: stage.id for stage in graph.stages(study)}


def _changed(study: config.StudyConfig, **changes) -> set[str]:
  """Names of the stages whose id the changes alter."""
  before, after = _ids(study), _ids(_study(**changes))
  return {name for name in before if before[name] != after[name]}


def test_parents_come_before_children_and_names_say_what():
  stages = graph.stages(_study())
  assert [s.name for s in stages] == [
    'pretrain',
    'align/none',
    'later/none/neutral',
    'later/none/capability',
    'align/generic',
    'align/reason',
    'later/reason/neutral',
    'later/reason/capability',
  ]
  for place, stage in enumerate(stages):
    assert stage.parent is None or stage.parent in stages[:place]
  parents = {s.name: s.parent and s.parent.name for s in stages}
  assert parents['align/reason'] == 'pretrain'
  assert parents['later/reason/neutral'] == 'align/reason'


def test_arm_without_alignment_trains_nothing_and_hands_the_pretrained_model_on():
  stages = {s.name: s for s in graph.stages(_study())}
  assert not stages['align/none'].trains
  assert stages['align/none'].corpora == ()
  assert stages['later/none/neutral'].parent is stages['pretrain']


def test_every_replica_inherits_from_its_own_world_and_seed():
  stages = {
    s.name: s for s in graph.stages(_study(seeds={'first_world': 7, 'worlds': 2, 'per_world': 3}))
  }
  leaves = tuple((world, seed) for world in (7, 8) for seed in range(3))
  assert stages['pretrain'].replicas == ((7, 0), (8, 0))
  assert stages['align/reason'].replicas == stages['later/reason/neutral'].replicas == leaves
  assert stages['align/reason'].inherits() == [0, 0, 0, 1, 1, 1]
  assert stages['later/none/neutral'].inherits() == [0, 0, 0, 1, 1, 1]
  assert stages['later/reason/neutral'].inherits() == [0, 1, 2, 3, 4, 5]
  for stage in stages.values():
    assert [spec.world_seed for spec in stage.corpora] == [
      world for world, _ in stage.replicas[: len(stage.corpora)]
    ]


def test_seeds_differ_between_replicas_and_purposes_and_repeat():
  stage = graph.stages(_study())[-1]
  initial, order = stage.seeds()
  assert len({*initial, *order}) == 2 * len(stage.replicas)
  assert all(0 <= seed < 2**32 for seed in initial + order)
  assert graph.stages(_study())[-1].seeds() == (initial, order)


def test_identities_are_distinct_and_deterministic():
  ids = _ids(_study())
  assert len(set(ids.values())) == len(ids)
  assert ids == _ids(_study())


def test_a_change_reaches_the_stages_that_depend_on_it_and_no_others():
  study = _study()
  everything = set(_ids(study))
  trained_later = {name for name in everything if name.startswith('later')}
  after_alignment = {
    'align/generic',
    'align/reason',
    'later/reason/neutral',
    'later/reason/capability',
  }
  assert _changed(study, pretrain={'learning_rate': 1e-3}) == everything
  assert _changed(study, world={'agents': 81}) == everything
  assert _changed(study, model={'compute_dtype': 'bfloat16'}) == everything
  assert _changed(study, seeds={'first_world': 3}) == everything
  assert _changed(study, later_training={'updates': 101}) == trained_later
  assert _changed(study, align={'learning_rate': 1e-3}) == after_alignment
  assert _changed(study, align_text={'replay': 0.4}) == after_alignment


@pytest.mark.parametrize(
  'changes',
  [
    {'device': {'host_devices': 1, 'steps_per_dispatch': 3, 'scan_layers': True, 'remat': True}},
    {'pretrain': {'checkpoint_every': 7}},
    {'evals': {'battery_items': 10}},
    {'statistics': {'bootstrap': 100}},
    {'question': 'another?'},
    {'arms': ('none', 'reason', 'generic')},
  ],
)
def test_what_does_not_decide_the_parameters_is_not_in_the_identity(changes):
  assert not _changed(_study(), **changes)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'arms': ('generc',), 'later_arms': (), 'later': ()},
      r"config\.arms = 'generc': unknown; did you mean generic\?",
    ),
    ({'later': ('capabilty',)}, r"config\.later = 'capabilty': unknown; did you mean capability\?"),
    (
      {'arms': ('generic',), 'later_arms': ('advice',), 'later': ('neutral',)},
      r"config\.later_arms = 'advice': must be among config\.arms = generic",
    ),
    (
      {'claims': ('reason-over-filler-forced',)},
      r"config\.claims = .*needs 'filler' in config\.arms",
    ),
    ({'claims': ('nonsense',)}, r"config\.claims = 'nonsense': unknown"),
    (
      {
        'kind': 'scaling',
        'arms': (),
        'later_arms': (),
        'later': (),
        'scaling': {'sizes': ('2x',), 'tokens': (9,)},
      },
      r"config\.scaling\.sizes = '2x': unknown",
    ),
  ],
)
def test_unknown_names_are_refused(changes, message):
  with pytest.raises(UserError, match='^' + message):
    graph.stages(_study(**changes))


def test_directories_are_of_name_and_identity(tmp_path):
  stages = graph.stages(_study())
  directories = [s.directory(tmp_path) for s in stages]
  assert len(set(directories)) == len(stages)
  assert directories[-1].name.startswith('later-reason-capability-')
  other = dataclasses.replace(stages[-1], later='neutral')
  assert other.directory(tmp_path) != directories[-1]


DOSES = {'arms': ('reason',), 'shares': (0.5, 0.125)}


def test_a_dose_is_its_arm_with_less_text_and_fewer_questions():
  study = _study(doses=DOSES)
  stages = {s.name: s for s in graph.stages(study)}
  full, half = stages['align/reason'], stages['dose/reason/5000']
  assert [s.name for s in graph.stages(study) if s.kind == 'dose'] == [
    'dose/reason/1250',
    'dose/reason/5000',
  ]
  assert half.parent is full.parent and half.replicas == full.replicas and half.trains
  assert half.seeds() == full.seeds() and half.tokens == full.tokens
  for small, whole in zip(half.corpora, full.corpora, strict=True):
    assert dataclasses.replace(small, dose=1.0) == whole
  assert half.study.evals.batteries == ('agentic-tools', 'facts')


def test_doses_leave_the_ids_of_other_stages_alone():
  assert not _changed(_study(), doses=DOSES)
  ids = _ids(_study(doses=DOSES))
  assert len(set(ids.values())) == len(ids)


def test_a_dose_starts_where_its_arm_does():
  arms = ('principles', 'principles-then-demonstrations')
  doses = {'arms': arms[1:], 'shares': (0.5,)}
  stages = {
    s.name: s for s in graph.stages(_study(arms=arms, later_arms=(), later=(), doses=doses))
  }
  assert stages['dose/principles-then-demonstrations/5000'].parent is stages['align/principles']


@pytest.mark.parametrize('arm', ['none', 'generic'])
def test_an_arm_without_text_has_no_doses(arm):
  with pytest.raises(
    UserError, match=rf"^config\.doses\.arms = '{arm}': must be an arm that reads"
  ):
    graph.stages(_study(doses={'arms': (arm,), 'shares': (0.5,)}))
