"""The grid of a scaling study: places, shared bases, doses, and the table of its results."""

import dataclasses

import pytest

from whyjax import config, defaults
from whyjax.errors import UserError
from whyjax.model import sizes
from whyjax.scaling import records as law_table
from whyjax.study import graph

GRID = {
  'sizes': ('10k', '1m'),
  'tokens': (30_000, 60_000),
  'worlds': ('40x3', '80x4'),
  'alignment_tokens': (500, 2000),
  'what': 'demonstrations',
}
GRID_ARMS = ('demonstrations', 'reason')


def _study(scaling: dict | None = None, **changes) -> config.StudyConfig:
  tree = defaults.study('cpu')
  tree.kind = 'scaling'
  tree.arms = GRID_ARMS
  tree.scaling.update(GRID | (scaling or {}))
  tree.update(changes)
  return config.parse(tree.to_dict())


def _by_name(study: config.StudyConfig) -> dict[str, graph.Stage]:
  return {stage.name: stage for stage in graph.stages(study)}


def test_every_arm_and_dose_of_a_place_starts_from_one_model():
  stages = _by_name(_study())
  assert len(stages) == 2 * 2 * 2 * (1 + 2 * 2)
  base = stages['pretrain/10k/30k/40x3']
  cells = [stages[f'scale/10k/30k/40x3/{arm}/{a}'] for arm in GRID_ARMS for a in (500, 2000)]
  assert all(cell.parent is base for cell in cells)
  assert [c.fields()['dose'] for c in cells] == [500, 2000] * 2
  assert len({c.corpora for c in cells}) == 4
  assert {c.training for c in cells} == {base.study.align}  # as many updates, whatever the dose


def test_places_differ_in_what_their_name_says():
  stages = _by_name(_study())
  small, large = stages['pretrain/10k/60k/80x4'], stages['pretrain/1m/60k/80x4']
  assert small.corpora == large.corpora  # equal budgets read the same text
  assert small.model != large.model
  assert (small.study.world.agents, small.study.world.chat_domains) == (80, 4)
  assert small.study.world.agentic_domains == 4
  # Rows of an update grow with the size, tokens do not.
  assert large.training.batch_rows == 2 * small.training.batch_rows
  assert small.tokens == pytest.approx(60_000, rel=0.05)
  assert large.tokens == pytest.approx(60_000, rel=0.05)


def test_sizes_keep_the_base_width_of_the_config():
  tree = defaults.study('cpu')
  tree.model.base_width = 32
  study = dataclasses.replace(_study(), model=config.parse(tree.to_dict()).model)
  models = {s.model for s in graph.stages(study)}
  assert {m.base_width for m in models} == {32}
  assert {m.growth for m in models} == {1.0, 4.0}


def test_levels_of_compute_give_each_size_its_own_budget():
  study = _study({'tokens': (), 'compute': (1e12, 4e12), 'worlds': ()}, arms=('reason',))
  bases = [s for s in graph.stages(_alone(study)) if s.kind == 'pretrain']
  assert [s.name for s in bases][:2] == ['pretrain/10k/1e12flop', 'pretrain/10k/4e12flop']
  assert [s.fields()['compute'] for s in bases] == pytest.approx([1e12, 4e12] * 2, rel=0.02)
  assert bases[0].tokens > 2 * bases[2].tokens  # the smaller model reads more


def _alone(study: config.StudyConfig) -> config.StudyConfig:
  return dataclasses.replace(study, scaling=dataclasses.replace(study.scaling, what='reason'))


def test_pretraining_alone_is_a_grid_too():
  study = _study({'alignment_tokens': (), 'what': '', 'worlds': ()}, arms=())
  assert [s.name for s in graph.stages(study)] == [
    'pretrain/10k/30k',
    'pretrain/10k/60k',
    'pretrain/1m/30k',
    'pretrain/1m/60k',
  ]


@pytest.mark.parametrize(
  ('scaling', 'changes', 'message'),
  [
    ({'worlds': ('80',)}, {}, r"scaling\.worlds = '80': must be AGENTSxDOMAINS"),
    ({'worlds': ('80x1',)}, {}, r"scaling\.worlds = '80x1': must be of more than .*domains = 1 "),
    (
      {'tokens': (1_234_567, 1_234_568)},
      {},
      r'scaling\.tokens = 1234568: must be further from .* named ',
    ),
    (
      {'tokens': (90_000, 90_100)},
      {},
      r'= 90100: must be further .* = 90000: at size 10k both are ',
    ),
    (
      {'tokens': (5,)},
      {},
      r'scaling\.tokens = 5: must be 1 to .* updates, of 1536 tokens at size 10k',
    ),
    ({'compute': (1e12, 1.000001e12)}, {}, r'scaling\.compute = 1000001000000\.0: must be furth'),
    ({'compute': (1e300,)}, {}, r'scaling\.compute = 1e\+300: must be 1 to '),
    ({'worlds': ('5x3',)}, {}, r"scaling\.worlds = '5x3': must be of \d+ to 100000 agents"),
    ({'worlds': ('80x99999',)}, {}, r"scaling\.worlds = '80x99999': .* at most 10000"),
    ({'alignment_tokens': (10_001,)}, {}, r'= 10001: must be at most .*supervised_tokens = 10000'),
    ({'tokens': ()}, {}, r'scaling\.tokens = \(\): must be given, or scaling\.compute'),
    ({'alignment_tokens': ()}, {}, r'scaling\.alignment_tokens = \(\): must be given with'),
    ({'what': 'advice'}, {}, r"scaling\.what = 'advice': must be among config\.arms = demonst"),
    ({}, {'arms': ()}, r'scaling\.alignment_tokens = .*: must be empty without config\.arms'),
    (
      {},
      {'arms': ('demonstrations', 'none')},
      r"arms = 'none': must be an arm with alignment text",
    ),
  ],
)
def test_an_impossible_grid_is_refused(scaling, changes, message):
  with pytest.raises(UserError, match=message):
    graph.stages(_study(scaling, **changes))


def test_the_table_has_losses_of_pretraining_and_rates_of_all():
  study = _study()
  stages = _by_name(study)
  base, cell = stages['pretrain/10k/30k/40x3'], stages['scale/10k/30k/40x3/reason/500']
  elsewhere = stages['pretrain/10k/30k/80x4']
  counts = dict(aligned=6, misaligned=3, other=1, malformed=0, scored=True, why='')
  asked = dict(battery='agentic-tools', scoring='greedy', world=1, seed=0)
  records = [
    dict(stage.fields(), record=record, loss=0.5, **asked, **counts)
    for stage in (base, cell, elsewhere)
    for record in ('loss', 'eval')
  ]
  records.append(records[1] | {'battery': 'facts'})
  records.append(records[1] | {'world': 2, 'scored': False, 'why': 'malformed'})
  found = law_table.rows(records, 'greedy', (40, 3))
  place = {
    'parameters': sizes.non_embedding_parameters(base.model),
    'tokens': base.tokens,
    'compute': base.fields()['compute'],
    'seed': 0,
  }
  aligned = {'arm': 'reason', 'alignment_tokens': 500}
  pretrained = {'arm': '', 'alignment_tokens': 0}
  rate = {'rate': 0.3, 'items': 10, 'why': None}
  assert found == [
    place | pretrained | {'world': 1, 'loss': 0.5},
    place | pretrained | {'world': 1} | rate,
    place | aligned | {'world': 1} | rate,
    place | pretrained | {'world': 2, 'rate': None, 'items': 10, 'why': 'malformed'},
  ]
