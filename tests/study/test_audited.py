"""A rigged scorer on a whole study: no claim is scored, and it is said why, loudly."""

import io
import json
from pathlib import Path
import shutil

import numpy as np
import pytest
from rich.console import Console

from whyjax import command_line, results
from whyjax.evals import scoring
from whyjax.report import report
from whyjax.study import audited, cache, graph, runner

TINY = Path(__file__).parents[1] / 'tiny.py'
SETTINGS = (
  '--config.device.host_devices=8',
  '--config.device.mesh_replica=1',
  '--config.device.mesh_data=1',
  '--config.device.compile_cache=',
  # Nothing is learnt in seconds: without these gates the verdicts would be drawn.
  '--config.evals.knowledge_gate=0.0',
  '--config.evals.malformed_gate=1.0',
  "--config.claims=('reason-over-demonstrations-forced', 'reason-over-demonstrations-free')",
  '--config.evals.battery_items=20',
)


def _study():
  return command_line.parse(['whyjax', f'--config={TINY}', *SETTINGS]).study


def _run(workdir):
  """(records, what the console showed)."""
  console = Console(width=160, file=io.StringIO())
  runner.run(_study(), workdir, console)
  return results.read(workdir / 'results.jsonl'), console.file.getvalue()


@pytest.fixture(scope='module')
def honest(tmp_path_factory):
  """The workdir of an honest run, and what its console showed; not to be written to."""
  workdir = tmp_path_factory.mktemp('honest') / 'w'
  return workdir, _run(workdir)[1]


def test_an_honest_study_passes_and_its_verdicts_are_drawn(honest):
  workdir, shown = honest
  records = results.read(workdir / 'results.jsonl')
  evals, audits = (results.select(records, record=kind) for kind in ('eval', 'audit'))
  assert len(audits) == len(evals) and all(a['passed'] for a in audits)
  assert {a['stage'] for a in audits} >= {'pretrain', 'align/none', 'later/reason/neutral'}
  words = {v['verdict'] for v in results.select(records, record='verdict')}
  assert words <= {'supported', 'contradicted', 'inconclusive'}
  assert 'Audit: all' in shown and 'AUDIT FAILED' not in shown
  assert 'audited answers are what the weights write' in (workdir / 'report.html').read_text()


def test_a_rigged_scorer_on_untouched_weights_gets_no_claim_scored(honest, tmp_path, monkeypatch):
  workdir = Path(shutil.copytree(honest[0], tmp_path / 'w'))
  for answers in workdir.glob('stages/*/evals*.jsonl'):
    answers.unlink()  # the same weights are asked again, by another scorer

  def forced(self, params, items):
    shape = (len(items), len(items[0].right))
    return np.full(shape, 'a'), np.ones(shape)

  def free(self, params, items, room, temperature, seed):
    return np.full((len(items), len(items[0].right)), 'a'), np.stack(
      [np.repeat(b.right[:, None], room, axis=1) for b in items]
    )

  monkeypatch.setattr(scoring.Scorer, 'forced', forced)
  monkeypatch.setattr(scoring.Scorer, 'free', free)
  records, shown = _run(workdir)
  verdicts = results.select(records, record='verdict')
  assert [v['verdict'] for v in verdicts] == ['not scored'] * 2
  assert all('audited answers behind the claim are not what the weights' in v['why']
             for v in verdicts)  # fmt: skip
  assert ' AUDIT FAILED: ' in shown
  stage_lines = [line for line in shown.splitlines() if line.startswith('align/reason')]
  assert 'AUDIT FAILED' in stage_lines[0]
  page = (workdir / 'report.html').read_text()
  assert 'Audit failed.' in page and 'are not what the weights write' in page


def test_outcomes_changed_on_disk_after_the_audit_are_not_scored(honest, tmp_path):
  workdir = Path(shutil.copytree(honest[0], tmp_path / 'w'))
  stage = next(s for s in graph.stages(_study()) if s.name == 'align/reason')
  path = stage.directory(workdir) / cache.EVALS
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  for r in lines[1:]:
    if r['record'] == 'eval' and (r['battery'], r['scoring']) == ('agentic-tools', 'greedy'):
      r |= {'outcomes': 'a' * r['n'], 'aligned': r['n'], 'misaligned': 0, 'other': 0}
      r |= {'malformed': 0, 'rate': 0.0}
  path.write_text(''.join(json.dumps(r) + '\n' for r in lines))
  records, _ = _run(workdir)
  forced, free = results.select(records, record='verdict')
  assert forced['verdict'] != 'not scored' and free['verdict'] == 'not scored'
  assert 'its outcomes are not those that were audited' in free['why']


def test_an_evaluation_without_its_audit_is_refused_where_others_have_one(honest):
  records = results.read(honest[0] / 'results.jsonl')
  evals = audited.with_audits(records)
  assert audited.refusal(evals) == ''
  dropped = results.select(records, record='audit')[0]
  evals = audited.with_audits([r for r in records if r is not dropped])
  assert 'there is no audit of it' in audited.refusal(evals)


def test_results_of_a_version_without_audits_are_read_and_reported(honest, tmp_path):
  older = [
    r | {'schema': 2}
    for r in results.read(honest[0] / 'results.jsonl')
    if r['record'] not in ('audit', 'replication')
  ]
  path = tmp_path / 'results.jsonl'
  path.write_text(''.join(json.dumps(r) + '\n' for r in older))
  console = Console(width=160, file=io.StringIO())
  report.build(path, tmp_path, console)
  assert 'No audit: these results are of a version that made none.' in console.file.getvalue()
  assert 'No audit' in (tmp_path / 'report.html').read_text()
  assert audited.refusal(audited.with_audits(older)) == ''
