"""The phase diagram: decisions and boundaries are recovered from outcomes with a known diagram."""

import dataclasses
import io
from pathlib import Path
import shutil
import signal

import numpy as np
import pytest
from rich.console import Console

from whyjax import command_line, config, defaults, results
from whyjax.corpus import loader
from whyjax.errors import UserError
from whyjax.study import graph, phase, runner, samples
from whyjax.training.interrupt import Preempted

ITEMS = 100
WORLDS = range(2000, 2008)
SETTINGS = config.parse(defaults.study().to_dict()).statistics
SHARES = (0.0, 0.5, 1.0)
BREADTHS = ('1x1', '1x3', '1x6', '2x6')
# Misaligned choices of demonstrations, by share and breadth; why leaves .1 everywhere but where
# everyone is principled (.5), background text .95.
WHAT = {0.0: (0.9, 0.8, 0.7, 0.6), 0.5: (0.5, 0.3, 0.1, 0.1), 1.0: (0.1, 0.1, 0.1, 0.1)}
WHY = {0.0: 0.1, 0.5: 0.1, 1.0: 0.5}


def _study(**changes) -> config.StudyConfig:
  tree = defaults.study('cpu')
  tree.kind = 'phase'
  tree.arms = ('generic', 'demonstrations', 'reason')
  tree.phase.update(dict(principled=SHARES, breadths=BREADTHS, what='demonstrations'))
  tree.seeds.update(dict(first_world=2000, worlds=8, per_world=1))
  tree.statistics.update(dict(bootstrap=400, smallest_effect=0.1))
  tree.update(changes)
  return config.parse(tree.to_dict())


def _evaluation(share, breadth, arm, battery, scoring, world, seed, misaligned, other=0, bad=0):
  """An eval record with these counts, in an order by chance."""
  letters = ('m' * misaligned + 'o' * other + 'x' * bad).ljust(ITEMS, 'a')
  rng = np.random.default_rng([world, seed, misaligned, len(arm)])
  outcomes = ''.join(rng.permutation(list(letters)))
  counts = {name: outcomes.count(letter) for letter, name in results.OUTCOMES.items()}
  kind = 'phase' if arm else 'pretrain'
  return counts | {
    'schema': results.SCHEMA,
    'record': 'eval',
    'run': {},
    'stage': '/'.join(str(part) for part in (kind, share, breadth, arm) if part != ''),
    'kind': kind,
    'arm': arm,
    'later': '',
    'principled': share,
    'breadth': breadth,
    'battery': battery,
    'items': f'{battery} {world}',
    'scoring': scoring,
    'world': world,
    'seed': seed,
    'n': ITEMS,
    'rate': misaligned / ITEMS if bad <= 5 else None,
    'scored': bad <= 5,
    'why': '' if bad <= 5 else 'malformed',
    'margin': None,
    'outcomes': outcomes,
  }


def _records(what=WHAT, why=WHY, generic=0.95, spread=0.02, worlds=WORLDS, seeds=1, **why_answers):
  """All eval records of the study, with a spread between worlds that both arms share by half."""
  rng = np.random.default_rng(0)
  records = []
  for share in SHARES:
    models = [('', '', 1.0), ('', 'generic', generic)]
    for i, breadth in enumerate(BREADTHS):
      models += [(breadth, 'demonstrations', what[share][i]), (breadth, 'reason', why[share])]
    for breadth, arm, rate in models:
      shifts = rng.permutation(np.linspace(-spread, spread, len(worlds)))
      for world, shift in zip(worlds, shifts, strict=True):
        for seed in range(seeds if arm else 1):
          for scoring in ('forced', 'greedy'):
            count = round(ITEMS * float(np.clip(rate + shift, 0, 1)))
            extra = why_answers if arm == 'reason' else {}
            where = (share, breadth, arm, 'agentic-tools', scoring, world, seed)
            records.append(_evaluation(*where, count, **extra))
          records.append(_evaluation(share, breadth, arm, 'facts', 'forced', world, seed, 1))
  return records


def _cells(records, study=None, scoring='greedy'):
  found = phase.diagram(records, study or _study())
  for record in found:
    results.validate(record)
  cells = results.select(found, record='phase', scoring=scoring)
  boundaries = results.select(found, record='boundary', scoring=scoring)
  return (
    {(c['principled'], c['breadth']): c for c in cells},
    {b['principled']: b for b in boundaries},
  )


def test_a_known_diagram_is_recovered():
  cells, boundaries = _cells(_records())
  decisions = {share: [cells[share, b]['decision'] for b in BREADTHS] for share in SHARES}
  assert decisions == {
    0.0: [phase.HELPS] * 4,
    0.5: [phase.HELPS] * 2 + [phase.SUFFICE] * 2,
    1.0: [phase.HURTS] * 4,
  }
  for (share, breadth), cell in cells.items():
    expected = WHY[share] - WHAT[share][BREADTHS.index(breadth)]
    assert cell['advantage'] == pytest.approx(expected, abs=0.005)
    assert cell['low'] < cell['advantage'] < cell['high']
    assert cell['generic_rate'] == pytest.approx(0.95, abs=0.01)
    assert len(cell['per_replica']) == 8 and cell['smallest_effect'] == 0.1
  # At half principled the advantage is .2 at 3 and 0 at 6: it falls to .1 half-way.
  assert boundaries[0.5]['at'] == pytest.approx(4.5, abs=0.2)
  assert 3 < boundaries[0.5]['low'] < boundaries[0.5]['at'] < boundaries[0.5]['high'] < 6
  assert boundaries[0.5]['places'] == [phase.INSIDE] * 3
  for share, place in ((0.0, phase.BEYOND), (1.0, phase.BELOW)):
    assert boundaries[share]['places'] == [place] * 3
    assert boundaries[share]['at'] is boundaries[share]['low'] is boundaries[share]['high'] is None


def test_records_in_another_order_say_the_same():
  records = _records(seeds=2)
  study = _study(seeds={'first_world': 2000, 'worlds': 8, 'per_world': 2})
  assert phase.diagram(records[::-1], study) == phase.diagram(records, study)
  assert len(_cells(records, study)[0][0.0, '1x1']['per_replica']) == 16


def test_where_nothing_helps_demonstrations_do_not_suffice():
  bad = {share: (0.9,) * 4 for share in SHARES}
  cells, boundaries = _cells(_records(what=bad, why=dict.fromkeys(SHARES, 0.9)))
  assert {c['decision'] for c in cells.values()} == {phase.NEITHER}
  assert 'not shown to help beside background text' in cells[0.0, '1x1']['why']
  assert boundaries[0.0]['places'][0] == phase.BELOW


def test_worlds_that_differ_leave_cells_undecided():
  cells, boundaries = _cells(_records(spread=0.4))
  assert cells[0.5, '1x3']['decision'] == phase.UNDECIDED
  assert 'is excluded' in cells[0.5, '1x3']['why']
  assert phase.BEYOND in boundaries[0.5]['places'] or phase.BELOW in boundaries[0.5]['places']
  inside, places = boundaries[0.5]['at'], boundaries[0.5]['places']
  assert (inside is None) == (places[0] != phase.INSIDE)


def test_the_worlds_of_the_shipped_study_suffice_to_say_that_demonstrations_do():
  """Six worlds would not: the prior on their spread alone is wider than the smallest effect."""
  root = Path(__file__).parents[2]
  study = command_line.parse(['whyjax', f'--config={root}/configs/phase.py']).study
  assert study.seeds.worlds == len(WORLDS)
  equal = {share: (0.1,) * 4 for share in SHARES}
  none = dict.fromkeys(SHARES, 0.1)
  cells, _ = _cells(_records(what=equal, why=none, spread=0.0))
  assert {c['decision'] for c in cells.values()} == {phase.SUFFICE}
  fewer = _records(what=equal, why=none, spread=0.0, worlds=WORLDS[:6])
  cells, _ = _cells(fewer)
  assert {c['decision'] for c in cells.values()} == {phase.UNDECIDED}


def test_answers_that_are_neither_option_do_not_pass_for_help():
  cells, _ = _cells(_records(why=dict.fromkeys(SHARES, 0.1), other=60))
  assert cells[0.5, '1x1']['advantage'] == pytest.approx(-0.4, abs=0.01)
  assert cells[0.5, '1x1']['decision'] == phase.UNDECIDED
  assert 'by aligned ones' in cells[0.5, '1x1']['why']


def test_malformed_answers_and_missing_facts_are_refused_as_claims_are():
  cells, boundaries = _cells(_records(bad=6))
  cell = cells[0.0, '1x1']
  assert cell['decision'] == 'not scored' and cell['advantage'] is None
  assert cell['treatment_rate'] is None and cell['control_rate'] == pytest.approx(0.9, abs=0.01)
  assert boundaries[0.0]['at'] is None and boundaries[0.0]['places'] == []
  assert boundaries[0.0]['why'].startswith('1x1: not scored')

  def forgetful(record, *where):
    known = record['battery'] != 'facts' or (record['principled'], record['arm']) != where
    return record if known else _evaluation(*where[:1], record['breadth'], where[1], *FACTS, 20)

  for arm in ('', 'generic'):
    records = [forgetful(r, 0.5, arm) for r in _records()]
    cells, boundaries = _cells(records)
    assert {cells[0.5, b]['decision'] for b in BREADTHS} == {'not taught'}
    assert cells[0.0, '1x1']['decision'] == phase.HELPS and boundaries[0.0]['why'] == ''
  records = [
    r if r['breadth'] != '1x3' else forgetful(r, 0.5, 'demonstrations') for r in _records()
  ]
  cells, boundaries = _cells(records)
  assert [cells[0.5, b]['decision'] for b in BREADTHS].count('not taught') == 1
  assert boundaries[0.5]['why'].startswith('1x3: not taught')


FACTS = ('facts', 'forced', 2000, 0)


def test_worlds_of_calibration_carry_no_decision_and_no_boundary():
  study = _study(seeds={'first_world': 0, 'worlds': 8, 'per_world': 1})
  cells, boundaries = _cells(_records(worlds=range(8)), study)
  assert {c['decision'] for c in cells.values()} == {'calibration'}
  assert cells[0.0, '1x1']['advantage'] == pytest.approx(-0.8, abs=0.01)
  assert all(b['at'] is None and 'calibration' in b['why'] for b in boundaries.values())


def test_missing_and_unpaired_records_are_refused():
  records = _records()
  gone = [r for r in records if (r['arm'], r['breadth']) != ('reason', '1x3')]
  with pytest.raises(UserError, match=r'no forced eval record of 0\.0 1x3 reason on agentic-tools'):
    phase.diagram(gone, _study())
  other = [r | {'items': 'others'} if r['arm'] == 'reason' else r for r in records]
  with pytest.raises(UserError, match='differ in replicas or items'):
    phase.diagram(other, _study())


@pytest.mark.parametrize(
  ('advantage', 'at'),
  [
    ((-0.5, -0.3, 0.0), 5.0),  # falls from .3 at 3 to 0 at 6: .1 at 5
    ((-0.5, -0.1, -0.1), 3.0),  # the smallest effect itself is no more than it
    ((-0.05, -0.09, 0.3), -np.inf),
    ((-0.5, -0.3, -0.2), np.inf),
    ((0.2, -0.3, 0.1), 4.5),  # helps in between: the last fall counts
    ((-0.5, 0.0, -0.2), np.inf),  # helps again at the widest
  ],
)
def test_crossing_is_where_the_advantage_last_falls_to_the_smallest_effect(advantage, at):
  assert phase.crossing(np.array(advantage), (1, 3, 6), 0.1) == pytest.approx(at)


def test_interval_of_a_boundary_covers_it_in_nearly_all_repetitions():
  """Curves of six worlds around a line that falls to the smallest effect at 4.5."""
  settings = dataclasses.replace(SETTINGS, bootstrap=400, smallest_effect=0.1, split=0)
  sizes, rng = np.array([1, 3, 6, 12]), np.random.default_rng(0)
  truth = -0.1 - 0.06 * (4.5 - sizes)
  assert phase.crossing(truth, sizes, 0.1) == pytest.approx(4.5)
  covered = []
  for repetition in range(100):
    by_world = truth + rng.normal(0, 0.1, (6, 1)) + rng.normal(0, 0.05, (6, 4))
    _, low, high = phase.locate(by_world, sizes, settings, repetition)
    covered.append(low <= 4.5 <= high)
  assert np.mean(covered) >= 0.9


TINY = Path(__file__).parents[1] / 'tiny.py'
GRID = {
  'kind': 'phase',
  'arms': "('generic', 'demonstrations', 'reason')",
  'later_arms': '()',
  'later': '()',
  'claims': '()',
  'phase.principled': '(0.2, 0.8)',
  'phase.breadths': "('1x2', '2x6')",
  'phase.what': 'demonstrations',
  'evals.batteries': "('agentic-tools', 'facts')",
  'align_text.control_tokens': 40,
  'evals.knowledge_gate': 0.0,
  'evals.malformed_gate': 1.0,
  'device.host_devices': 8,
  'device.mesh_replica': 1,
  'device.mesh_data': 1,
  'device.compile_cache': '',
}


def _tiny(**overrides) -> config.StudyConfig:
  flags = [f'--config.{field}={value}' for field, value in (GRID | overrides).items()]
  return command_line.parse(['whyjax', f'--config={TINY}', *flags]).study


def _facts(records: list[dict]) -> list[dict]:
  """The records without what may differ between equal runs."""
  return [{name: value for name, value in r.items() if name != 'run'} for r in records]


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> Path:
  """The workdir of a finished 2 x 2 study; not to be written to."""
  workdir = tmp_path_factory.mktemp('phase') / 'w'
  runner.run(_tiny(), workdir, Console(quiet=True))
  return workdir


def test_a_small_phase_study_trains_every_cell_and_draws_its_diagram(finished):
  records = results.read(finished / 'results.jsonl')
  assert len(results.select(records, record='stage')) == 2 * (1 + 1 + 2 * 2)
  cells = results.select(records, record='phase')
  assert len(cells) == 2 * 2 * 2
  assert len(results.select(records, record='boundary')) == 2 * 2
  for cell in cells:
    where = {name: cell[name] for name in ('principled', 'breadth', 'battery', 'scoring')}
    why = results.select(records, record='eval', arm='reason', **where)
    what = results.select(records, record='eval', arm='demonstrations', **where)
    rates = [a['rate'] - b['rate'] for a, b in zip(why, what, strict=True)]
    assert cell['per_replica'] == pytest.approx(rates)
  assert {p.name for p in finished.iterdir()} >= {'figure.png', 'report.html'}


def test_a_study_stopped_within_a_cell_goes_on_bit_for_bit(finished, tmp_path, monkeypatch):
  workdir = Path(shutil.copytree(finished, tmp_path / 'w'))
  (workdir / 'results.jsonl').unlink()
  cell = next(s for s in graph.stages(_tiny()) if s.name == 'phase/20/2x6/reason')
  shutil.rmtree(cell.directory(workdir))
  whole, calls = loader.Loader.batch, []

  def stop_on_the_way(self, step, *part):
    calls.append(step)
    if len(calls) == 4:
      signal.raise_signal(signal.SIGTERM)
    return whole(self, step, *part)

  monkeypatch.setattr(loader.Loader, 'batch', stop_on_the_way)
  with pytest.raises(Preempted, match='phase/20/2x6/reason: stopped'):
    runner.run(_tiny(), workdir, Console(quiet=True))
  monkeypatch.setattr(loader.Loader, 'batch', whole)
  runner.run(_tiny(), workdir, Console(quiet=True))
  again, before = (results.read(path / 'results.jsonl') for path in (workdir, finished))
  assert _facts(again) == _facts(before)
  trained = [r['stage'] for r in results.select(again, record='stage') if not r['run']['reused']]
  assert trained == ['phase/20/2x6/reason']


def test_samples_show_every_arm_at_every_breadth_and_who_lives_at_every_share():
  console = Console(width=200, record=True, file=io.StringIO())
  samples.show(_tiny(), console)
  text = console.export_text()
  for heading in ('arm reason at 1x2 ', 'arm reason at 2x6 ', 'arm generic ', 'at 80% principled '):
    assert text.count(heading) == 1
