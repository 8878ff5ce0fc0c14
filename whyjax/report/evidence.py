"""The page's evidence: every battery of every arm, and what the models write."""

from collections.abc import Mapping, Sequence
from typing import Any

from whyjax import results
from whyjax.report import summary
from whyjax.report.markup import Records, escape, section, table
from whyjax.report.summary import Cell, Key, Moment

_COMPARED = (
  'demonstrations',
  'advice-reason',
  'reason',
)  # the first two that ran stand side by side
_ITEMS = 3
_OUTCOMES = {
  'a': ('supported', '✓ aligned'),
  'm': ('contradicted', '✗ misaligned'),
  'o': ('inconclusive', '? neither option'),
  'x': ('refused', '∅ malformed'),
}
_SCORING_HEADS = {
  'forced': '<th scope="col" class="number first">forced</th>',
  'greedy': '<th scope="col" class="number">free</th>',
}
_ARMS_KEY = (
  'In batteries marked ↓ the number is the share of misaligned choices; in those marked ↑ it '
  'is the share of '
  'right answers. The darker, the worse. Margin: mean log-probability of the right over the wrong '
  'answer, in nats. Loss is held-out, in nats a token.'
)
_ACT_WORDS = 4  # the longest lead-in of an act without a word of why: 'i would go for ...'
_WORDS_KEY = (
  'How often something stands before the act in the free-running answers that were kept, and how '
  'many acts are misaligned with and without it. Few answers are kept: read it as a hint to the '
  'mechanism, not as a rate.'
)
_TRANSCRIPTS_KEY = (
  'Free-running answers to the same prompts. The <mark class="right">right</mark> and the '
  '<mark class="wrong">wrong</mark> option are marked.'
)


def arms(records: Records) -> str:
  """One table a moment, an arm a row; empty when no arm was evaluated."""
  cells = summary.cells(records)
  losses = results.select(records, record='loss')
  tables = ''.join(
    f'<h3>{escape(moment.label.capitalize())}</h3>{_moment(cells, losses, moment)}'
    for moment in summary.moments(cells)
  )
  return section('Every arm, every battery', tables, _ARMS_KEY) if tables else ''


def _moment(cells: Mapping[Key, Cell], losses: Records, moment: Moment) -> str:
  scorings = [s for s in _SCORING_HEADS if any(key.scoring == s for key in cells)]
  batteries = summary.batteries(cells)
  head = ''.join(
    f'<th scope="colgroup" class="group first" colspan="{len(scorings)}">{escape(b)} '
    f'{"↓" if b in summary.CHOICES else "↑"}</th>'
    for b in batteries
  )
  subhead = ''.join(_SCORING_HEADS[s] for _ in batteries for s in scorings)
  rows = []
  for arm in summary.arms({key: cell for key, cell in cells.items() if key.moment == moment}):
    scores = ''.join(
      _score(cells.get(Key(arm, moment, battery, scoring)), battery, first=scoring == scorings[0])
      for battery in batteries
      for scoring in scorings
    )
    values = [r['loss'] for r in losses if (r['arm'], r['kind'], r['later']) == (arm, *moment)]
    loss = f'{sum(values) / len(values):.3f}' if values else '-'
    about = escape(summary.ARMS.get(arm, ''))
    rows.append(
      f'<tr><th scope="row">{escape(arm)}<small>{about}</small></th>{scores}'
      f'<td class="number first">{loss}</td></tr>'
    )
  return (
    f'<div class="scroll"><table class="arms"><thead><tr><td></td>{head}<td '
    'class="first"></td></tr>'
    f'<tr><th scope="col">arm</th>{subhead}<th scope="col" class="number '
    'first">loss</th></tr></thead>'
    f'<tbody>{"".join(rows)}</tbody></table></div>'
  )


def _score(cell: Cell | None, battery: str, first: bool) -> str:
  """A share, shaded by how bad it is, with what one must know to read it."""
  side = ' first' if first else ''
  if cell is None:
    return f'<td class="number{side}">-</td>'
  if cell.rate is None:
    note = f'{cell.not_scored}: {cell.malformed:.0%} malformed'
    return f'<td class="number{side}">not scored<small>{note}</small></td>'
  choices = battery in summary.CHOICES
  shown, bad = (cell.rate, cell.rate) if choices else (cell.correct, 1 - cell.correct)
  neither = cell.other + cell.malformed
  notes = [f'{neither:.0%} neither'] if neither >= summary.NOTABLE else []
  if battery == results.MAIN and cell.margin is not None:
    notes.append(f'margin {summary.signed(cell.margin)}')
  small = ''.join(f'<small>{note}</small>' for note in notes)
  return f'<td class="number{side}" style="--v:{100 * bad:.0f}">{shown:.2f}{small}</td>'


def transcripts(records: Records) -> str:
  """The same items answered by two arms, side by side; empty without transcripts of arms."""
  found = _answers(records)
  arms_seen = list(dict.fromkeys(t['arm'] for t in found))
  preferred = [arm for arm in _COMPARED if arm in arms_seen]
  pair = list(dict.fromkeys(preferred + arms_seen))[:2]
  moments: dict[Moment, dict] = {}
  for t in found:
    if t['arm'] in pair:
      items = moments.setdefault(Moment(t['kind'], t['later']), {})
      items.setdefault((t['world'], t['seed'], t['item'], t['scoring']), {})[t['arm']] = t
  body = ''.join(
    f'<h3>{escape(moment.label.capitalize())}</h3>'
    + ''.join(_item(answers, pair) for answers in list(items.values())[:_ITEMS])
    for moment, items in moments.items()
  )
  return section('What the models write', body, _TRANSCRIPTS_KEY) if body else ''


def _item(answers: Mapping[str, Mapping[str, Any]], pair: Sequence[str]) -> str:
  """One prompt and the answers of both arms."""
  columns = ''
  for arm in pair:
    if arm in answers:
      tone, word = _OUTCOMES.get(answers[arm]['outcome'], ('refused', ''))
      badge = f'<span class="badge {tone}">{word}</span>'
      columns += f'<div><h4>{escape(arm)}{badge}</h4><p>{_marked(answers[arm], "answer")}</p></div>'
  prompt = _marked(next(iter(answers.values())), 'prompt')
  return f'<div class="item"><p class="prompt">{prompt}</p><div class="pair">{columns}</div></div>'


def _marked(transcript: Mapping[str, Any], field: str) -> str:
  """The text with its right and wrong option marked."""
  tones = {transcript['right']: 'right', transcript['wrong']: 'wrong'}
  return ' '.join(
    f'<mark class="{tones[word]}">{escape(word)}</mark>' if word in tones else escape(word)
    for word in transcript[field].split()
  )


def words(records: Records) -> str:
  """How often arms write something before they act; empty without transcripts of arms."""
  groups: dict[tuple[str, Moment], dict[bool, list[bool]]] = {}
  for t in _answers(records):
    spoke = writes_first(t)
    if spoke is not None:
      counts = groups.setdefault((t['arm'], Moment(t['kind'], t['later'])), {True: [], False: []})
      counts[spoke].append(t['outcome'] == 'm')
  rows = []
  for (arm, moment), by in groups.items():
    wrong = [f'{sum(by[s])} of {len(by[s])}' if by[s] else '-' for s in (True, False)]
    first = f'{len(by[True])} of {len(by[True]) + len(by[False])}'
    rows.append((arm, moment.label, first, *wrong))
  heads = ('arm', 'moment', 'write first', 'misaligned when they do', 'misaligned when not')
  return section('Words before the act', table(heads, rows), _WORDS_KEY) if rows else ''


def writes_first(transcript: Mapping[str, Any]) -> bool | None:
  """Whether an answer says something before it names an option; None when it names none."""
  said = transcript['answer'].split()
  named = [said.index(o) for o in (transcript['right'], transcript['wrong']) if o in said]
  return min(named) > _ACT_WORDS if named else None


def _answers(records: Records) -> Records:
  """What arms wrote on the main battery after alignment at their full dose, and later."""
  return [
    t
    for t in results.select(records, record='transcript', battery=results.MAIN)
    if t['arm'] and t['kind'] in ('align', 'later')  # elsewhere an arm stands under many conditions
  ]


def checks(records: Records) -> str:
  """What a machine found when it compared arms; empty without checks."""
  found = results.select(records, record='check')
  rows = [(' and '.join(map(str, c['arms'])), c['name'], c['text']) for c in found]
  key = 'Compared by machine, on the text as trained.'
  return (
    section('How the arms differ', table(('arms', 'check', 'result'), rows), key) if rows else ''
  )
