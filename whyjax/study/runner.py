"""Runs a study from corpora to report; what is finished is reused, what was interrupted goes on."""

from collections.abc import Collection, Sequence
import dataclasses
import itertools
import json
from pathlib import Path

from rich.console import Console

from whyjax import results
from whyjax.config import StudyConfig
from whyjax.errors import UserError
from whyjax.scaling import records as laws
from whyjax.study import (
  cache,
  checks,
  claims,
  graph,
  judgement,
  phase,
  protocol,
  provenance,
  replication,
)
from whyjax.study import workdir as workdirs
from whyjax.study.graph import Stage
from whyjax.training import processes


def run(
  study: StudyConfig, workdir: Path, console: Console, patience: float = workdirs.PATIENCE
) -> None:
  """Trains, evaluates and judges; leaves results.jsonl, the figure and the report in `workdir`.

  Args:
    patience: seconds to wait for others who hold the workdir.

  Raises:
    UserError: bad input of any kind, found as early as it can be.
    Preempted: the process was asked to end, and has saved its state.
  """
  stages = graph.stages(study)
  path = workdir / 'results.jsonl'
  with workdirs.hold_for_all(workdir, study.name, patience=patience):
    console.print(f'[bold]{study.name}[/]: {study.question}', highlight=False)
    console.print(
      f'{len(stages)} stages on {study.device.platform}, workdir {workdir}; '
      f'{protocol.describe(study)}',
      style='dim',
      highlight=False,
    )
    fresh = _complete(stages, workdir, console)

    def conclude() -> None:
      from whyjax.report import report  # plotting libraries: a fifth of the start of a process

      records = collect(study, stages, workdir, fresh)
      _keep_other(path, records, console)
      results.write(path, records)
      report.build(path, workdir, console)

    processes.first_does(conclude)


def _keep_other(path: Path, records: Sequence[dict], console: Console) -> None:
  """Results of another config stay beside the new ones: nothing that was found is lost."""
  if not path.exists():
    return
  new = json.loads(json.dumps(records[0]['config']))
  try:
    if all(study['config'] == new for study in results.select(results.read(path), record='study')):
      return
  except UserError:
    pass  # damaged: kept as well
  kept = next(
    name for i in itertools.count(1) if not (name := path.with_name(f'results.{i}.jsonl')).exists()
  )
  path.rename(kept)
  console.print(f'results of another config are kept as {kept}', style='dim', highlight=False)


def _complete(stages: Sequence[Stage], workdir: Path, console: Console) -> set[str]:
  """Trains and evaluates what is not done, a line a stage; returns the names of those."""
  console.print(
    f'a line a stage: loss, seconds of training + evaluation, misaligned on {results.MAIN} '
    'free-running and forced',
    style='dim',
    highlight=False,
  )
  trained = [stage for stage in stages if stage.trains]
  names = processes.agreed(lambda: [s.name for s in trained if not _is_done(s, workdir)])
  missing = [stage for stage in trained if stage.name in names]
  width = max(len(stage.name) for stage in trained)

  def done(stage: Stage, note: str = '') -> None:
    if not processes.is_first():
      return  # files of another process may be seen late
    console.print(
      f'{stage.name:{width}}  {_summary(stage, workdir)}  [dim]{note}[/]', highlight=False
    )

  for stage in trained:
    if stage not in missing and processes.is_first():
      if not cache.has_result(stage, workdir):  # killed after the evaluation
        cache.save_result(stage, workdir)
      done(stage, ' '.join(['reused', *_other_versions(stage, workdir)]))
  if missing:
    from whyjax.study import execute  # JAX: a finished study does not need it

    execute.complete(
      missing, workdir, lambda line: console.print(line, style='dim', highlight=False), done
    )
  return {stage.name for stage in missing}


def _other_versions(stage: Stage, workdir: Path) -> list[str]:
  """What a stage was computed with, where that is not what would compute it now."""
  used = _run(stage, workdir).get('versions', {})
  now = provenance.versions()
  return [f'({name} {used[name]})' for name in used if used[name] != now.get(name)]


def _run(stage: Stage, workdir: Path) -> dict:
  """What stage.json says of the run of a stage; it is for people, and a stage is whole without."""
  path = stage.directory(workdir) / 'stage.json'
  return cache.parse(path, path.read_bytes(), run=dict)['run'] if path.exists() else {}


def _is_done(stage: Stage, workdir: Path) -> bool:
  return cache.trained(stage, workdir) is not None and cache.evaluated(stage, workdir) is not None


def _summary(stage: Stage, workdir: Path) -> str:
  """How a finished stage trained, and how often it now acts against the constitution."""
  record = cache.trained(stage, workdir)
  evals, seconds = cache.evaluated(stage, workdir)
  # Records of earlier versions have no reward.
  shown = 'reward' if record.get('reward') else 'loss'
  value = sum(record[shown]) / len(record[shown])
  rates = [
    _rate(results.select(evals, record='eval', battery=results.MAIN, scoring=scoring))
    for scoring in ('greedy', 'forced')
  ]
  failed = '  [bold reverse red] AUDIT FAILED [/]' if results.select(evals, passed=False) else ''
  wall = record['run']['wall']
  return f'{shown} {value:.3f}  {wall:4.0f} + {seconds:.0f} s  {" ".join(rates)}{failed}'


def _rate(found: Sequence[dict]) -> str:
  """The misaligned share of all replicas, unless too few answers are one of the two options."""
  if not all(r['scored'] for r in found):
    return 'malformed'
  neither = sum(r['other'] + r['malformed'] for r in found) / sum(r['n'] for r in found)
  if neither > 0.5:
    return 'neither'
  return f'{sum(r["misaligned"] for r in found) / sum(r["n"] for r in found):.2f}'


def collect(
  study: StudyConfig, stages: Sequence[Stage], workdir: Path, fresh: Collection[str]
) -> list[dict]:
  """All records of a finished study, checks, fits and verdicts included.

  Args:
    fresh: names of the stages that this run trained or evaluated; the others were reused.
  """
  records = []
  for stage in stages:
    own, *evals = _of_stage(stage, workdir)
    records += [own | {'run': own['run'] | {'reused': stage.name not in fresh}}, *evals]
  records += checks.compare_arms(study, stages, records)
  if study.kind == 'phase':
    records += phase.diagram(records, study)
  claimed = claims.check(study)
  verdicts = judgement.judge(records, claimed, study.statistics, study.evals)
  records += verdicts + replication.replicate(records, claimed, study.statistics, study.evals)
  records = [_of_study(study, stages, workdir), *records]
  if study.kind == 'scaling':
    kept = workdir / laws.FORECASTS
    kept.mkdir(exist_ok=True)
    records += laws.law_records(laws.find(records, kept))
  return records


def _of_stage(stage: Stage, workdir: Path) -> list[dict]:
  """What a stage left: its own record and those of its evaluation."""
  if stage.trains:
    return [cache.trained(stage, workdir), *cache.evaluated(stage, workdir)[0]]
  # Without alignment the model is the pretrained one, and answers alike for every seed.
  before, (evals, _) = (
    cache.trained(stage.parent, workdir),
    cache.answers(stage.parent, workdir, None),
  )
  heirs = list(zip(stage.replicas, stage.inherits(), strict=True))
  record = cache.record(
    stage,
    updates=0,
    corpora=[],
    supervised_tokens=[0] * len(heirs),
    loss=[before['loss'][row] for _, row in heirs],
    run=before['run'],
  )
  copies = [
    e | stage.fields() | {'seed': seed}
    for (world, seed), _ in heirs
    for e in evals
    if e['world'] == world
  ]
  return [record, *(c for c in copies if c['record'] != 'transcript' or c['seed'] == 0)]


def _of_study(study: StudyConfig, stages: Sequence[Stage], workdir: Path) -> dict:
  """The 'study' record. Its minutes are those that its stages took, whenever they ran and with
  whichever code (a stage's own record says); time, commit and versions are those of judging."""
  trained = [stage for stage in stages if stage.trains]
  seconds = [
    cache.trained(s, workdir)['run']['wall'] + cache.evaluated(s, workdir)[1] for s in trained
  ]
  worlds = range(study.seeds.first_world, study.seeds.first_world + study.seeds.worlds)
  return {
    'record': 'study',
    'name': study.name,
    'question': study.question,
    'kind': study.kind,
    'config': dataclasses.asdict(study),
    'worlds': list(worlds),
    'per_world': study.seeds.per_world,
    'protocol': protocol.describe(study),
    'run': {
      **provenance.environment(),
      'device': _run(stages[0], workdir).get('device', ''),
      'minutes': sum(seconds) / 60,
      'workdir': str(workdir.absolute()),
    },
  }
