"""Every impossible study is refused in one line: the field, its value, what is allowed."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import config_dict
import pytest

from whyjax import config, defaults
from whyjax.errors import UserError


def _tree(changes):
  """The defaults with some fields changed; keys are dotted paths."""
  tree = defaults.study('cpu').to_dict()
  for path, value in changes.items():
    *groups, name = path.split('.')
    node = tree
    for group in groups:
      node = node[group]
    node[name] = value
  return tree


PHASE = {
  'kind': 'phase',
  'arms': ('generic', 'demonstrations', 'reason'),
  'phase.principled': (0.2, 0.8),
  'phase.breadths': ('1x1', '1x6'),
  'phase.what': 'demonstrations',
}


def test_defaults_give_every_field_and_survive_a_round_trip():
  study = config.parse(_tree({}))
  assert config.parse(dataclasses.asdict(study)) == study


def test_what_is_turned_into_data_once_is_the_same_data():
  study = config.parse(_tree({}))
  assert config.as_dict(study) == dataclasses.asdict(study)
  wider = dataclasses.replace(study.world, agents=study.world.agents + 1)
  assert wider.as_dict == dataclasses.asdict(wider) != study.world.as_dict


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'evals.sampels': 3}, r'config\.evals\.sampels: unknown field; did you mean samples\?'),
    ({'evals': 3}, r'config\.evals = 3: must be a group of fields'),
    ({'seeds.first_world': -1}, r'config\.seeds\.first_world = -1: must be at least 0'),
    ({'seeds.worlds': 2.0}, r'config\.seeds\.worlds = 2\.0: must be of type int'),
    ({'seeds.worlds': True}, r'config\.seeds\.worlds = True: must be of type int'),
    ({'align_text.replay': float('nan')}, r'config\.align_text\.replay = nan: must be finite'),
    (
      {'pretrain.optimizer': 'sgd'},
      r"config\.pretrain\.optimizer = 'sgd': must be one of adamw, muon",
    ),
    ({'arms': ('generic', 'generic')}, r'config\.arms = .*: an entry stands twice'),
    ({'arms': 'generic'}, r"config\.arms = 'generic': must be a list"),
    (
      {'arms': ('reason',), 'doses.arms': ('reason',)},
      r"config\.doses\.shares = \(\): must be given with config\.doses\.arms = \('reason',\)",
    ),
    (
      {'doses.shares': (0.5,)},
      r'config\.doses\.arms = \(\): must be given with config\.doses\.shares = \(0\.5,\): a dose',
    ),
    (
      {'arms': ('reason',), 'doses.arms': ('advice',), 'doses.shares': (0.5,)},
      r"config\.doses\.arms = 'advice': must be among config\.arms = reason",
    ),
    (
      {'arms': ('reason',), 'doses.arms': ('reason',), 'doses.shares': (0.5, 1.0)},
      r'config\.doses\.shares = 1\.0: must be below 1: the full dose is the arm itself',
    ),
    (
      {'arms': ('reason',), 'doses.arms': ('reason',), 'doses.shares': (0.0,)},
      r'config\.doses\.shares = 0\.0: must be greater than 0',
    ),
    (
      {'arms': ('reason',), 'doses.arms': ('reason',), 'doses.shares': (0.5, 0.50001)},
      r'config\.doses\.shares = \(0\.5, 0\.50001\): must be shares that differ in whole tokens',
    ),
    ({'name': '../elsewhere'}, r"config\.name = '\.\./elsewhere': must be letters"),
    (
      {'world.principled': 0.5, 'world.by_domain': 0.3, 'world.by_tools': 0.3},
      r'config\.world\.principled \+ by_domain \+ by_tools = 1\.1: must be 1',
    ),
    (
      {'world.wordings': 2, 'world.heldout_wordings': 2},
      r'config\.world\.heldout_wordings = 2: must be less than world\.wordings = 2',
    ),
    (
      {'pretrain_text.facts': 0.5, 'pretrain_text.neutral': 0.4, 'pretrain_text.target': 0.2},
      r'config\.pretrain_text\.facts \+ neutral \+ target = 1\.1: must be at most 1',
    ),
    (
      {'world.chat_domains': 2, 'align_text.domains': 2},
      r'config\.align_text\.domains = 2: must be less than world\.chat_domains = 2',
    ),
    (
      {'world.virtues': 2, 'world.temptations': 1, 'align_text.value_pairs': 3},
      r'config\.align_text\.value_pairs = 3: must be at most world\.virtues x .* = 2',
    ),
    (
      {'align_text.supervised_tokens': 10**9},
      r'config\.align_text\.supervised_tokens = 1000000000: must be at most',
    ),
    (
      {'later_text.supervised_tokens': 10**9},
      r'config\.later_text\.supervised_tokens = 1000000000: must be at most',
    ),
    (
      {'model.base_width': 32, 'align.optimizer': 'muon'},
      r"config\.align\.optimizer = 'muon': must be adamw with model\.base_width",
    ),
    (
      {'model.heads': 4, 'model.kv_heads': 3},
      r'config\.model\.kv_heads = 3: must be a divisor of model\.heads = 4',
    ),
    ({'model.head_dim': 15}, r'config\.model\.head_dim = 15: must be even'),
    (
      {'model.layers': 3, 'model.shared_layers': 2},
      r'config\.model\.shared_layers = 2: must be a divisor of model\.layers = 3',
    ),
    (
      {'align.batch_rows': 8, 'align.accumulation': 3},
      r'config\.align\.accumulation = 3: must be a divisor of align\.batch_rows = 8',
    ),
    (
      {'align.updates': 900, 'align.probes': (3, 900)},
      r'config\.align\.probes = \(3, 900\): must be below align\.updates = 900',
    ),
    (
      {'pretrain.warmup': 0.6, 'pretrain.decay': 0.6},
      r'config\.pretrain\.warmup \+ decay = 1\.2: must be at most 1',
    ),
    ({'later': ('neutral',)}, r'config\.later = .*: must be given with config\.later_arms'),
    (
      {'arms': ('generic',), 'later_arms': ('generic',)},
      r'config\.later = \(\): must be given with config\.later_arms',
    ),
    ({'kind': 'sweep'}, r"config\.kind = 'sweep': must be one of arms, scaling, phase"),
    (
      {'kind': 'scaling', 'scaling.tokens': (9,)},
      r'config\.scaling\.sizes = \(\): must be given when',
    ),
    (
      {'scaling.sizes': ('1m',)},
      r"config\.scaling\.sizes = \('1m',\): must be empty when config\.kind = 'arms'",
    ),
    (
      {'kind': 'scaling', 'scaling.sizes': ('1m',), 'scaling.tokens': (9,), 'later': ('neutral',)},
      r"config\.later = \('neutral',\): ",
    ),
    (
      {'phase.breadths': ('1x1', '1x2')},
      r"config\.phase\.breadths = \('1x1', '1x2'\): must be empty when config\.kind = 'arms'",
    ),
    ({'phase.what': 'reason'}, r"config\.phase\.what = 'reason': must be empty when"),
    ({'kind': 'phase'}, r'config\.phase\.principled = \(\): must be given when'),
    (PHASE | {'phase.breadths': ()}, r'config\.phase\.breadths = \(\): must be given when'),
    (PHASE | {'phase.what': ''}, r"config\.phase\.what = '': must be given when"),
    (
      PHASE | {'phase.principled': (0.5, 1.5)},
      r'config\.phase\.principled = 1\.5: must be at most',
    ),
    (
      PHASE | {'scaling.sizes': ('1m',)},
      r"config\.scaling\.sizes = \('1m',\): must be empty when config\.kind = 'phase'",
    ),
    (
      PHASE | {'claims': ('reason-over-demonstrations-free',)},
      r"config\.claims = .*: must be empty when config\.kind = 'phase'",
    ),
    (
      PHASE | {'later': ('neutral',), 'later_arms': ('reason',)},
      r"config\.later = .*: must be empty when config\.kind = 'phase'",
    ),
  ],
)
def test_impossible_study_is_refused(changes, message):
  with pytest.raises(UserError, match='^' + message) as error:
    config.parse(_tree(changes))
  assert '\n' not in str(error.value)


def test_no_field_has_the_name_of_a_method_of_config_dict():
  """A flag --config.group.items would find the method `items`, and fail."""

  def names(part):
    for field in dataclasses.fields(part):
      yield field.name
      if dataclasses.is_dataclass(value := getattr(part, field.name)):
        yield from names(value)

  assert not [
    name for name in names(config.parse(_tree({}))) if hasattr(config_dict.ConfigDict, name)
  ]


def test_missing_field_is_named():
  tree = _tree({})
  del tree['world']['tasks']
  with pytest.raises(UserError, match=r'config\.world\.tasks: missing'):
    config.parse(tree)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 40), min_size=3, max_size=3))
def test_shares_of_agent_kinds_may_be_any_that_sum_to_one(parts):
  shares = [p / sum(parts) for p in parts]
  changes = dict(
    zip(('world.principled', 'world.by_domain', 'world.by_tools'), shares, strict=True)
  )
  config.parse(_tree(changes))


def test_of_very_many_words_an_error_lists_the_nearest():
  words = [f'claim-{i}' for i in range(200)]
  assert config.did_you_mean('claim-7', words) == 'did you mean claim-7?'
  line = config.did_you_mean('x', words)
  assert line.startswith('200 are allowed, the nearest claim-') and len(line) < 100
  assert config.did_you_mean('x', ['b', 'a']) == 'allowed: a, b'
