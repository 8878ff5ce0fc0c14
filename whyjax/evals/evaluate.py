"""All batteries on one stage's parameters: records for the results file."""

from collections import Counter
from collections.abc import Mapping, Sequence
import functools

import jax
import numpy as np

from whyjax.config import StudyConfig
from whyjax.corpus import corpora, packing
from whyjax.corpus.vocabulary import END, vocabulary
from whyjax.evals import audit, batteries
from whyjax.evals.batteries import Battery
from whyjax.evals.scoring import ALIGNED, MALFORMED, MISALIGNED, OTHER, Scorer
from whyjax.training import interrupt

_TRANSCRIPTS = 4  # items of a battery whose text is kept, of each world's first seed
_HELDOUT_ROWS = 64


def evaluate(
  study: StudyConfig,
  stage: Mapping[str, str | float],
  replicas: Sequence[tuple[int, int]],
  params: dict,
  mesh: jax.sharding.Mesh,
) -> list[dict]:
  """Records 'eval', 'transcript', 'audit' and 'loss' of one stage.

  Args:
    stage: the fields stage, kind, arm, later that every record carries.
    replicas: (world seed, alignment seed index) of each replica.
    params: the parameters, every leaf with the leading axis R.

  Raises:
    Preempted: one of several processes was asked to end.
  """
  scorer = Scorer(study.model, mesh, study.device)
  records, greedy = [], {}
  for name in study.evals.batteries:
    items = [batteries.of_study(study, world, name) for world, _ in replicas]
    _may_go_on(stage)
    outcomes, margin = scorer.forced(params, items)
    records += [
      _record(study, stage, name, 'forced', replica, battery, outcomes[r], float(margin[r].mean()))
      for r, (replica, battery) in enumerate(zip(replicas, items, strict=True))
    ]
    _may_go_on(stage)
    outcomes, written = scorer.free(params, items, study.evals.max_new_tokens, 0.0, seed=0)
    greedy[name] = written
    for r, (replica, battery) in enumerate(zip(replicas, items, strict=True)):
      records.append(_record(study, stage, name, 'greedy', replica, battery, outcomes[r], None))
      if replica[1] == 0:
        records += _transcripts(study, stage, name, replica, battery, written[r], outcomes[r])
    sampled = []
    for i in range(study.evals.samples):
      _may_go_on(stage)
      settings = study.evals.max_new_tokens, study.evals.temperature
      sampled.append(scorer.free(params, items, *settings, seed=1 + i)[0])
    if sampled:
      outcomes = np.concatenate(sampled, axis=1)
      records += [
        _record(study, stage, name, 'sampled', replica, battery, outcomes[r], None)
        for r, (replica, battery) in enumerate(zip(replicas, items, strict=True))
      ]
  _may_go_on(stage)
  records += audit.audit(study, replicas, params, mesh, records, greedy)
  specs = [corpora.heldout_spec(study, world, _HELDOUT_ROWS) for world, _ in replicas]
  rows = [_heldout(spec) for spec in specs]
  stacked = {
    k: np.stack([getattr(r, k) for r in rows])
    for k in ('tokens', 'segments', 'positions', 'weights')
  }
  for replica, row, loss in zip(replicas, rows, scorer.loss(params, stacked), strict=True):
    where = dict(world=replica[0], seed=replica[1])
    records.append(
      dict(stage, record='loss', loss=float(loss), tokens=int((row.weights > 0).sum()), **where)
    )
  return records


def _may_go_on(stage: Mapping[str, str | float]) -> None:
  interrupt.check(f'while {stage["stage"]} was evaluated, which begins again')


@functools.lru_cache(maxsize=16)
def _heldout(spec: corpora.CorpusSpec) -> packing.Rows:
  return corpora.build_rows(spec)[0]


def _record(
  study: StudyConfig,
  stage,
  name: str,
  scoring: str,
  replica,
  battery: Battery,
  outcomes: np.ndarray,
  margin,
) -> dict:
  """One battery on one replica, with its counts; the rate stands only if the answers were
  well-formed."""
  counts = Counter(outcomes.tolist())
  malformed = counts[MALFORMED] / len(outcomes)
  gate = study.evals.malformed_gate
  scored = malformed <= gate
  return dict(
    stage,
    record='eval',
    battery=name,
    items=battery.hash,
    scoring=scoring,
    world=replica[0],
    seed=replica[1],
    n=len(outcomes),
    aligned=counts[ALIGNED],
    misaligned=counts[MISALIGNED],
    other=counts[OTHER],
    malformed=counts[MALFORMED],
    rate=counts[MISALIGNED] / len(outcomes) if scored else None,
    scored=scored,
    why='' if scored else f'{malformed:.0%} malformed, more than the gate of {gate:.0%}',
    margin=margin,
    outcomes=''.join(outcomes),
  )


def _transcripts(
  study: StudyConfig, stage, name: str, replica, battery: Battery, written, outcomes
) -> list[dict]:
  """The first items as a person reads them."""
  v = vocabulary(study.world)
  records = []
  for i in range(min(_TRANSCRIPTS, len(outcomes))):
    answer = written[i].tolist()
    answer = answer[: answer.index(END)] if END in answer else answer
    prompt = battery.free.tokens[i, : battery.free.lengths[i]]
    records.append(
      dict(
        stage,
        record='transcript',
        battery=name,
        world=replica[0],
        seed=replica[1],
        item=i,
        scoring='greedy',
        prompt=v.decode(prompt),
        answer=v.decode(answer),
        right=v.words[battery.right[i]],
        wrong=v.words[battery.wrong[i]],
        outcome=str(outcomes[i]),
      )
    )
  return records
