"""What a workdir already holds of a stage: done.json when trained, evals.jsonl when evaluated, and
result.json, the rates of both in one flat table, when there is nothing left to do.

All are written atomically, after all that they speak of: a stage without them is never taken for
whole.
"""

import json
from pathlib import Path

from whyjax import results
from whyjax.errors import UserError
from whyjax.model import sizes
from whyjax.study import graph
from whyjax.study.graph import Stage
from whyjax.study.workdir import write_atomic

DONE = 'done.json'
EVALS = 'evals.jsonl'
RESULT = 'result.json'
EVALUATION = 2  # of the code that evaluates: the second audits what was answered


def evaluation_id(stage: Stage, update: int | None) -> str:
  """Sha256 of all that decides what an evaluation finds: the stage, and what shapes the items."""
  study = stage.asked(update)
  asked = [
    dict(part.as_dict) for part in (study.world, study.pretrain_text, study.align_text, study.evals)
  ]
  del asked[-1]['knowledge_gate']  # speaks when claims are judged
  return graph.digest(
    {
      'version': [graph.VERSION, EVALUATION],
      'stage': stage.id,
      'row_length': study.row_length,
      'asked': asked,
    }
  )


def record(
  stage: Stage,
  *,
  updates: int,
  corpora: list[str],
  supervised_tokens: list[int],
  loss: list[float],
  run: dict,
  reward: list[float] = (),
) -> dict:
  """The 'stage' record of the results file; `loss` and `reward` are the final ones of each
  replica."""
  return {
    'record': 'stage',
    **stage.fields(),
    'id': stage.id,
    'parent': stage.parent.id if stage.parent else '',
    'corpora': corpora,
    'updates': updates,
    'tokens': stage.tokens if updates else 0,
    'supervised_tokens': supervised_tokens,
    'parameters': sizes.non_embedding_parameters(stage.model),
    'loss': loss,
    'reward': list(reward),
    'run': run,
  }


def trained(stage: Stage, workdir: Path) -> dict | None:
  """The 'stage' record of a finished stage; None when it is not finished."""
  path = stage.directory(workdir) / DONE
  if not path.exists():
    return None
  record = parse(path, path.read_bytes(), id=str, run=dict)
  if record['id'] != stage.id:
    raise UserError(f'{path}: is of stage {record["id"]!r}, not {stage.id!r}; delete its directory')
  _validate(path, record, 'train on')
  if not isinstance(record['run'].get('wall'), int | float):
    raise UserError(f'{path}: is damaged (run.wall is no number); delete it to train on')
  return record


def save_trained(stage: Stage, workdir: Path, record: dict) -> None:
  """Says that the stage is trained: its last checkpoint must be on disk."""
  write_atomic(stage.directory(workdir) / DONE, json.dumps(record, sort_keys=True) + '\n')


def evaluated(stage: Stage, workdir: Path) -> tuple[list[dict], float] | None:
  """Records and seconds of all evaluations of a stage; None when one of them is missing."""
  found = [answers(stage, workdir, update) for update in stage.evaluated_after]
  if None in found:
    return None
  return [r for records, _ in found for r in records], sum(seconds for _, seconds in found)


def answers(stage: Stage, workdir: Path, update: int | None) -> tuple[list[dict], float] | None:
  """Records and seconds of the evaluation after `update` (None = the last); None when it was not
  asked these questions."""
  path = _answers_file(stage, workdir, update)
  if not path.exists():
    return None
  head, *lines = path.read_bytes().splitlines() or [b'']
  if parse(path, head).get('evaluation') != evaluation_id(stage, update):
    return None
  head = parse(path, head, records=int, seconds=int | float)
  if head['records'] != len(lines):
    raise UserError(
      f'{path}: is damaged ({len(lines)} of {head["records"]} records); delete it to evaluate again'
    )
  records = [parse(path, line) for line in lines]
  for record in records:
    _validate(path, record, 'evaluate again')
  return records, head['seconds']


def save_answers(
  stage: Stage, workdir: Path, update: int | None, records: list[dict], seconds: float
) -> None:
  """Says that the stage is evaluated after `update`, and in how many seconds it was."""
  head = {'evaluation': evaluation_id(stage, update), 'records': len(records), 'seconds': seconds}
  text = ''.join(json.dumps(r, sort_keys=True) + '\n' for r in (head, *records))
  write_atomic(_answers_file(stage, workdir, update), text)


def save_result(stage: Stage, workdir: Path) -> None:
  """Writes the result of a stage that is trained and evaluated.

  One row a battery, scoring, replica and, on the way, update (null at the end), with the fields of
  an 'eval' record but for what each item was answered, and those of the stage that a table of many
  is grouped by.
  """
  record = trained(stage, workdir)
  of_replica = {
    replica: {'loss': loss, 'supervised_tokens': tokens}
    for replica, loss, tokens in zip(
      stage.replicas, record['loss'], record['supervised_tokens'], strict=True
    )
  }
  of_stage = {name: record[name] for name in ('id', 'parent', 'updates', 'tokens', 'parameters')}
  of_stage |= {'study': stage.study.name, 'dose': stage.dose, 'seconds': record['run']['wall']}
  records, _ = evaluated(stage, workdir)
  rows = [
    {k: v for k, v in r.items() if k not in ('record', 'run', 'schema', 'outcomes', 'items')}
    | of_stage
    | of_replica[r['world'], r['seed']]
    | {'update': r.get('update')}
    for r in records
    if r['record'] in ('eval', 'probe')
  ]
  result = {'schema': results.SCHEMA, 'answers_to': _asked(stage), 'rows': rows}
  write_atomic(stage.directory(workdir) / RESULT, json.dumps(result, sort_keys=True) + '\n')


def has_result(stage: Stage, workdir: Path) -> bool:
  """Whether there is nothing left to do for a stage, and its result is written."""
  path = stage.directory(workdir) / RESULT
  if not path.exists():
    return False
  return parse(path, path.read_bytes(), rows=list).get('answers_to') == _asked(stage)


def _asked(stage: Stage) -> list[str]:
  """What the evaluations of a stage are to be of."""
  return [evaluation_id(stage, update) for update in stage.evaluated_after]


def _answers_file(stage: Stage, workdir: Path, update: int | None) -> Path:
  return stage.directory(workdir) / (EVALS if update is None else f'evals-{update}.jsonl')


def parse(path: Path, line: bytes, /, **fields: type) -> dict:
  """The JSON object that a line of a file holds.

  Raises:
    UserError: it holds none, or one without these fields of these types.
  """
  try:
    record = json.loads(line)
  except ValueError as error:  # of UTF-8, too
    raise UserError(f'{path}: is damaged (no JSON); delete it to make it again') from error
  if not isinstance(record, dict):
    raise UserError(f'{path}: is damaged (no JSON object); delete it to make it again')
  for name, kind in fields.items():
    if not isinstance(record.get(name), kind):
      raise UserError(f'{path}: is damaged (no {name}); delete it to make it again')
  return record


def _validate(path: Path, record: dict, again: str) -> None:
  try:
    results.validate({'schema': results.SCHEMA, 'run': {}} | record)
  except UserError as damage:
    raise UserError(f'{path}: is damaged ({damage}); delete it to {again}') from damage
