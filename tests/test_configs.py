"""Every config file, in every variant: it resolves, its graph stands, its text fits, and it
runs."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from whyjax import command_line, defaults, results
from whyjax.corpus import arms, corpora
from whyjax.study import claims, graph, runner, samples

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(path.stem for path in (ROOT / 'configs').glob('*.py'))
# Two updates of a model that learns nothing, on one world; one shape for all stages, so that they
# share programs.
TINY = [
  f'--config.{field}={value}'
  for field, value in {
    'model.width': 16,
    'model.layers': 1,
    'model.heads': 2,
    'model.kv_heads': 1,
    'model.head_dim': 8,
    'model.mlp_width': 16,
    'pretrain.updates': 2,
    'pretrain.batch_rows': 8,
    'align.updates': 2,
    'align.batch_rows': 8,
    'later_training.updates': 2,
    'later_training.batch_rows': 8,
    'align_text.supervised_tokens': 100,
    'align_text.control_tokens': 50,
    'later_text.supervised_tokens': 100,
    'evals.battery_items': 4,
    'evals.max_new_tokens': 4,
    'evals.samples': 0,
    'seeds.worlds': 2,
    'seeds.per_world': 1,
    'statistics.bootstrap': 100,
    'device.compile_cache': '',
    'device.host_devices': 8,  # as tests/conftest.py starts JAX
  }.items()
]


def _study(name, variant='cpu', overrides=()):
  return command_line.parse(
    ['whyjax', f'--config={ROOT}/configs/{name}.py:{variant}', *overrides]
  ).study


@pytest.mark.parametrize('variant', defaults.VARIANTS)
@pytest.mark.parametrize('name', CONFIGS)
def test_it_resolves_and_can_be_planned(name, variant):
  study = _study(name, variant)
  assert study.name == name and study.question.endswith('?') and study.device.platform == variant
  assert claims.check(study) is not None
  stages = graph.stages(study)
  assert len({stage.id for stage in stages}) == len(stages)


@pytest.mark.parametrize('variant', defaults.VARIANTS)
@pytest.mark.parametrize('name', [name for name in CONFIGS if name != 'scaling'])
def test_its_alignment_text_fits_its_rows(name, variant):
  study = _study(name, variant)
  longest = [arm for arm in ('tools', 'principles', 'demonstrations') if arm in study.arms]
  for arm in longest:
    rows, _ = corpora.build_rows(corpora.align_spec(study, arm, study.seeds.first_world, 0))
    assert rows.padding < 0.05


def test_judging_worlds_are_not_calibration_worlds():
  for name in CONFIGS:
    for variant in defaults.VARIANTS:
      assert _study(name, variant).seeds.first_world >= 1000


@pytest.mark.parametrize('name', ['principles', 'null_world', 'degenerate_world'])
def test_it_runs(name, tmp_path):
  study = _study(name, overrides=TINY)
  runner.run(study, tmp_path / 'run', Console(quiet=True))
  records = results.read(tmp_path / 'run' / 'results.jsonl')
  assert {r['arm'] for r in results.select(records, record='stage')} >= set(study.arms)
  assert len(results.select(records, record='verdict')) == len(study.claims)


def test_samples_show_every_arm_and_battery_with_loss_marked():
  console = Console(width=200, record=True, force_terminal=True, file=io.StringIO())
  samples.show(_study('smoke'), console)
  coloured = console.export_text(styles=True, clear=False)
  text = console.export_text()
  for name in arms.ARMS:
    assert f'arm {name} ' in text
  for name in ('agentic-tools', 'facts', 'knows'):
    assert f'battery {name} ' in text
  assert '\x1b[1;4;32m' in coloured  # an action, bold, underlined and green: it bears loss


def test_samples_without_colours_mark_loss_too():
  console = Console(width=200, record=True, file=io.StringIO())
  samples.show(_study('smoke'), console)
  text = console.export_text()
  line = next(l for l in text.splitlines() if 'aster : «' in l)
  assert line.index('aster :') < line.index('«') < line.index('<end>»')
