"""Do the recorded answers belong to these weights? A second opinion that the scorer cannot give.

After an evaluation a sample of the answers of every battery and replica is computed again by the
forward pass of *training*: whole sequences, packed into rows, without a cache. Of the scorer the
audit takes what it recorded (letters, and for free-running answers the tokens written), and trusts
none of it.

- forced: the log-probabilities of the two answers, in both orders of the options, must give the
  letter that is recorded.
- greedy: every token written, the end token included, must be the likeliest one after what stands
  before it, and the first answer among them must give the letter that is recorded.
- both: the items must be those of the battery, and the record must count what its outcomes spell.

Sampled answers are left out: they are random, and no claim rests on them.

Detection: a scorer that alters a share s of the letters of one battery in one replica escapes with
probability (1 - s)^SAMPLE at most: 2.8% for s = 0.2, 0.08% for s = 0.36, one in a million for
s = 0.58. The least share that matters to a verdict is the smallest effect of interest, 0.1: there
19% escape in one replica, 0.12% in four and one in 21,000 in the six that an arm has by default.
Which items are sampled follows from a hash of all recorded outcomes: it is the same whenever it is
drawn again, and a scorer cannot know it before it has answered.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from whyjax import results
from whyjax.config import DeviceConfig, ModelConfig, StudyConfig
from whyjax.corpus.vocabulary import END
from whyjax.evals import batteries
from whyjax.evals.batteries import Battery
from whyjax.evals.scoring import MASS
from whyjax.model import transformer
from whyjax.training import mesh as meshes
from whyjax.training import processes

SAMPLE = 16  # items of a battery and replica that are computed again
AUDITED = ('forced', 'greedy')
# By how much two ways to compute one log-probability may differ, in standard deviations of the
# logits: rounding grows with them. Accelerators multiply float32 in lower precision unless told
# otherwise, hence so much of it.
TOLERANCE = {'float32': 0.02, 'bfloat16': 0.15}
_ROWS = 32  # packed rows of one call, so that one program serves every stage of equal replicas


@dataclasses.dataclass(frozen=True)
class _Sequence:
  """What the training forward pass reads, and what is asked of its last K positions.

  Attributes:
    tokens: [L] ids.
    asked: [K, 2] ids of the two tokens whose log-probability is wanted after each position.
  """

  tokens: np.ndarray
  asked: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Found:
  """The answer to a `_Sequence`: log-probabilities [K, 2] of the tokens asked, [K] the best, and
  [K] by how much they may differ from the scorer's, all in nats."""

  asked: np.ndarray
  best: np.ndarray
  slack: np.ndarray


def audit(
  study: StudyConfig,
  replicas: Sequence[tuple[int, int]],
  params: dict,
  mesh: jax.sharding.Mesh,
  records: Sequence[Mapping[str, Any]],
  written: Mapping[str, np.ndarray],
) -> list[dict]:
  """'audit' records, one for each forced or greedy 'eval' record among `records`, in their order.

  Args:
    replicas: (world seed, alignment seed index) of each replica.
    params: the parameters, every leaf with the leading axis R.
    records: what one stage's evaluation recorded.
    written: the greedy tokens [R, N, G] of each battery.
  """
  evals = [r for r in results.select(records, record='eval') if r['scoring'] in AUDITED]
  sampled, by_replica = [], [[] for _ in replicas]
  for r in evals:
    row = replicas.index((r['world'], r['seed']))
    battery = batteries.of_study(study, r['world'], r['battery'])
    items = _sample(r, len(battery.right))
    if r['scoring'] == 'forced':
      asked = [_forced(battery, order, i) for i in items for order in range(2)]
    else:
      asked = [_greedy(battery, i, written[r['battery']][row, i]) for i in items]
    first = len(by_replica[row])
    by_replica[row] += asked
    sampled.append((row, battery, items, slice(first, first + len(asked))))
  found = _compute(study, params, mesh, by_replica)
  audits = []
  for r, (row, battery, items, part) in zip(evals, sampled, strict=True):
    if r['scoring'] == 'forced':
      pairs = zip(found[row][part][::2], found[row][part][1::2], strict=True)
      letters = [_forced_letters(pair) for pair in pairs]
    else:
      answers = [_checked(w) for w in written[r['battery']][row, items]]
      room = study.evals.max_new_tokens
      letters = [
        _greedy_letters(battery, i, answer, got, room)
        for i, answer, got in zip(items, answers, found[row][part], strict=True)
      ]
    audits.append(_record(r, battery, items, letters))
  return audits


def _sample(record: Mapping[str, Any], n: int) -> np.ndarray:
  """The items of an eval record that are computed again, in order."""
  named = [record[k] for k in ('stage', 'battery', 'scoring', 'world', 'seed', 'outcomes')]
  digest = hashlib.sha256('/'.join(map(str, named)).encode()).digest()
  rng = np.random.default_rng(int.from_bytes(digest, 'little'))
  return np.sort(rng.permutation(n)[:SAMPLE])


def _forced(battery: Battery, order: int, i: int) -> _Sequence:
  """Item i in one order of its options, up to the answer."""
  prompts = battery.forced[order]
  answers = np.array([[battery.right[i], battery.wrong[i]]])
  return _Sequence(prompts.tokens[i, : prompts.lengths[i]], answers)


def _greedy(battery: Battery, i: int, written: np.ndarray) -> _Sequence:
  """Item i with what was written after it; of every token written its own log-probability is
  asked."""
  prompt = battery.free.tokens[i, : battery.free.lengths[i]]
  answer = _checked(written)
  return _Sequence(np.concatenate([prompt, answer[:-1]]), np.stack([answer, answer], axis=1))


def _checked(written: np.ndarray) -> np.ndarray:
  """What was written, up to the end token and with it."""
  ends = np.flatnonzero(written == END)
  return written[: ends[0] + 1] if len(ends) else written


def _forced_letters(orders: Sequence[_Found]) -> str:
  """The letters that a forced answer may have; more than one where they nearly tie."""
  logp = np.stack([found.asked[0] for found in orders])
  margin, mass = np.mean(logp[:, 0] - logp[:, 1]), np.exp(logp).sum(axis=1).mean()
  slack = np.mean([found.slack[0] for found in orders])
  letters = 'o' if mass * np.exp(-slack) < MASS else ''
  if mass * np.exp(slack) >= MASS:
    letters += 'a' if margin > -slack else ''
    letters += 'm' if margin <= slack else ''
  return letters


def _greedy_letters(battery: Battery, i: int, answer: np.ndarray, found: _Found, room: int) -> str:
  """The letter that a written answer has; none where the weights would have written another."""
  whole = len(answer) == room or END in answer
  if not (whole and (found.asked[:, 0] >= found.best - found.slack).all()):
    return ''
  for token in answer:
    if battery.answers[token] and token != END:
      return 'a' if token == battery.right[i] else 'm' if token == battery.wrong[i] else 'o'
  return 'x'


def _record(
  evaluation: Mapping[str, Any], battery: Battery, items: np.ndarray, letters: Sequence[str]
) -> dict:
  """The audit of one eval record; `letters` are those that each sampled answer may have."""
  outcomes = evaluation['outcomes']
  same_items = evaluation['items'] == battery.hash and len(outcomes) == len(battery.right)
  recorded = [outcomes[i] if i < len(outcomes) else '' for i in items]
  disagree = sum(not r or r not in allowed for r, allowed in zip(recorded, letters, strict=True))
  faults = []
  if disagree:
    faults.append(f'{disagree} of {len(items)} audited answers are not what the weights write')
  if not same_items:
    faults.append('the items are not those of the battery')
  counts = {name: outcomes.count(letter) for letter, name in results.OUTCOMES.items()}
  if any(evaluation[k] != count for k, count in (counts | {'n': len(outcomes)}).items()):
    faults.append('the counts are not those of the outcomes')
  where = ('stage', 'kind', 'arm', 'later', 'battery', 'world', 'seed', 'scoring')
  return {k: evaluation[k] for k in where} | {
    'record': 'audit',
    'update': None,
    'n': len(outcomes),
    'checked': len(items),
    'disagree': disagree,
    'passed': not faults,
    'why': '; '.join(faults),
    'outcomes': results.fingerprint(outcomes),
  }


def _compute(
  study: StudyConfig, params: dict, mesh: jax.sharding.Mesh, wanted: Sequence[Sequence[_Sequence]]
) -> list[list[_Found]]:
  """For each replica, what the weights say of its sequences."""
  longest = max((len(s.tokens) for replica in wanted for s in replica), default=0)
  # A row of training holds most sequences; steps of 32 keep the others to few programs.
  width = max(study.row_length, -(-longest // 32) * 32 if longest > study.row_length else 0)
  placed = [_place(replica, width) for replica in wanted]
  rows = max(row + 1 for places in placed for row, _, _ in places)
  rows = -(-rows // _ROWS) * _ROWS
  planes = _planes(wanted, placed, rows, width)
  run = _program(study.model, mesh, study.device)
  parts = [
    processes.fetch(run(params, [plane[:, at : at + _ROWS] for plane in planes]))
    for at in range(0, rows, _ROWS)
  ]
  asked, best, spread = (
    np.concatenate([part[side] for part in parts], axis=1) for side in range(3)
  )
  slack = TOLERANCE[study.model.compute_dtype] * np.maximum(spread, 1.0)

  def found(r: int, s: _Sequence, row: int, start: int) -> _Found:
    at = (r, row, slice(start + len(s.tokens) - len(s.asked), start + len(s.tokens)))
    return _Found(asked[at], best[at], slack[at])

  return [
    [found(r, s, row, start) for s, (row, _, start) in zip(replica, places, strict=True)]
    for r, (replica, places) in enumerate(zip(wanted, placed, strict=True))
  ]


def _place(sequences: Sequence[_Sequence], width: int) -> list[tuple[int, int, int]]:
  """(row, segment, first column) of each sequence: it goes where the last one ended, if it fits."""
  places, row, segment, column = [], 0, 0, 0
  for s in sequences:
    if column + len(s.tokens) > width:
      row, segment, column = row + 1, 0, 0
    segment += 1
    places.append((row, segment, column))
    column += len(s.tokens)
  return places


def _planes(wanted, placed, rows: int, width: int) -> tuple[np.ndarray, ...]:
  """Tokens, positions and segments [R, rows, width], and the tokens asked [R, rows, width, 2]."""
  shape = (len(wanted), rows, width)
  tokens, positions, segments = (np.zeros(shape, np.int32) for _ in range(3))
  asked = np.zeros((*shape, 2), np.int32)
  for r, (replica, places) in enumerate(zip(wanted, placed, strict=True)):
    for s, (row, segment, start) in zip(replica, places, strict=True):
      end = start + len(s.tokens)
      tokens[r, row, start:end] = s.tokens
      positions[r, row, start:end] = np.arange(len(s.tokens))
      segments[r, row, start:end] = segment
      asked[r, row, end - len(s.asked) : end] = s.asked
  return tokens, positions, segments, asked


@functools.lru_cache(maxsize=32)
def _program(model: ModelConfig, mesh: jax.sharding.Mesh, device: DeviceConfig):
  """(params, planes) -> log-probabilities [R, B, T, 2] of the tokens asked, [R, B, T] the best, and
  [R, B, T] the standard deviation of the logits."""

  def one(params, planes):
    *rows, asked_BxTx2 = planes
    logits_BxTxV = transformer.forward(model, params, *rows, scan_layers=device.scan_layers)
    total_BxTx1 = jax.nn.logsumexp(logits_BxTxV, axis=-1, keepdims=True)
    picked_BxTx2 = jnp.take_along_axis(logits_BxTxV, asked_BxTx2, axis=-1)
    best_BxT = logits_BxTxV.max(axis=-1) - total_BxTx1[..., 0]
    return picked_BxTx2 - total_BxTx1, best_BxT, logits_BxTxV.std(axis=-1)

  return jax.jit(meshes.map_rows(one, mesh, device.replica_loop))
