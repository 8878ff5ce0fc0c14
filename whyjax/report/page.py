"""report.html: one file that needs nothing beside itself, no network and no script."""

import base64
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from typing import Any

from matplotlib.figure import Figure

from whyjax import results
from whyjax.report import (
  audits,
  doses,
  evidence,
  figures,
  laws,
  persistence,
  phase,
  replications,
  summary,
  verdicts,
)
from whyjax.report.markup import Records, escape, plain, section, table
from whyjax.report.style import CSS
from whyjax.scaling import records as law_table
from whyjax.scaling.laws import Laws

_LIMITS = """<ul class="limits">
<li>Anything about character. The model has no values to hold or to betray: it follows the
statistics of words in a small made-up world.</li>
<li>Anything about evaluation awareness. The model cannot tell a test from use.</li>
<li>A rate to set beside those of <cite>Teaching Claude Why</cite>. What both can ask is which of
two arms, that differ in one thing, does better.</li>
<li>That a free-running gain is internalised. The words that the model writes steer its action; only
a gain under forced scoring needs none. Every verdict speaks of one of the two.</li>
<li>That there is no effect where a verdict is inconclusive.</li>
</ul>"""


@dataclasses.dataclass(frozen=True)
class Drawing:
  """A figure that these results allow, in either theme."""

  draw: Callable[[figures.Theme], Figure]
  alt: str
  caption: str

  @functools.cached_property
  def files(self) -> dict[str, bytes]:
    """The light figure as PNG, which the page shows too, and as SVG."""
    figure = self.draw(figures.LIGHT)
    return {'png': figures.png(figure), 'svg': figures.svg(figure)}


def render(records: Records, drawn: Sequence[Drawing] | None = None) -> str:
  """The page. A part whose records are absent is left out.

  Args:
    drawn: `drawings` of these records, where they are known already.
  """
  body = [
    _header(records),
    verdicts.verdicts(records),
    replications.replications(records),
    _figures(drawings(records) if drawn is None else drawn),
    phase.tables(records),
    _fits(records),
    _laws(records),
    evidence.arms(records),
    evidence.words(records),
    evidence.transcripts(records),
    audits.audits(records),
    evidence.checks(records),
    section('What this toy cannot say', _LIMITS),
    _provenance(records),
  ]
  title = escape(summary.study(records).get('name', 'study'))
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>{title}: whyjax</title><style>{CSS}</style></head>\n'
    f'<body><main>{"".join(body)}</main></body></html>\n'
  )


def _header(records: Records) -> str:
  """The question, the size of the study, and how many claims got which verdict."""
  study = summary.study(records)
  name = study.get('name', 'a study without a study record')
  facts = []
  if study:
    facts.append(study.get('protocol') or f'worlds: {len(study["worlds"])}')
    if study['kind'] == 'arms':
      facts.append(f'alignment seeds of a world: {study["per_world"]}')
  parameters = [s['parameters'] for s in results.select(records, record='stage', kind='pretrain')]
  if parameters:
    facts.append(f'parameters: {_span(parameters)}')
  if 'started' in study.get('run', {}):
    facts.append(str(study['run']['started']))
  return (
    '<header><p class="eyebrow">whyjax · '
    f'{escape(name)}</p><h1>{escape(study.get("question") or name)}</h1>'
    f'<p class="meta">{escape(" · ".join(facts))}</p>{verdicts.tally(records)}</header>\n'
  )


def drawings(records: Records, found_laws: Mapping | None = None) -> list[Drawing]:
  """The figures that these results allow, the most important first.

  Args:
    found_laws: `whyjax.scaling.records.find` of these records, where it is known already.
  """
  cells = summary.cells(records)
  found = []
  if figures.panels(cells):
    arms = ', '.join(summary.arms(cells))
    alt = f'Misaligned choices by arm and moment, forced and free-running. Arms: {arms}.'
    caption = (
      'Misaligned choices in agentic situations with tools, in domains that alignment never '
      'showed. Answers that are neither option count as not misaligned; the right margin notes '
      'their share from 5%, and replicas that are left out because too many answers are malformed.'
    )
    found.append(Drawing(functools.partial(figures.headline, cells), alt, caption))
  if by_dose := doses.curves(records):
    arms = ', '.join(dict.fromkeys(curve.arm for curve in by_dose))
    alt = f'Misaligned choices by alignment tokens, smaller doses and the full one. Arms: {arms}.'
    caption = (
      'How much text it takes: misaligned choices after smaller doses of alignment text, with '
      'equally many updates. Broken lines: the rates at which claims compare tokens, of the '
      'control at its full dose, mean over worlds.'
    )
    draw = functools.partial(doses.figure, by_dose, doses.matched(records))
    # Where all arms of text have doses, the curves show more than the full doses alone.
    whole = set(summary.arms(cells)) <= {'none', results.BASE, *(curve.arm for curve in by_dose)}
    place = 0 if whole else len(found)
    found.insert(place, Drawing(draw, alt, caption))
  found += _lasting(records)
  if maps := phase.maps(records):
    caption = (
      'Where teaching why beats teaching what. Blue: it leaves fewer choices misaligned than '
      'demonstrations of the same breadth. Above the line it helps by no more than the smallest '
      'effect of interest, on average.'
    )
    found.append(Drawing(functools.partial(phase.figure, maps), phase.alt(maps), caption))
  for fit in results.select(records, record='fit'):
    alt = f'Held-out loss against parameters, by tokens of training. Law: {fit["law"]}.'
    caption = f'Held-out loss against model size. {fit["why"] or "Lines: the fitted law."}'
    found.append(Drawing(functools.partial(figures.scaling, fit), alt, caption))
  return found + _law_drawings(law_table.find(records) if found_laws is None else found_laws)


def _law_drawings(found: Mapping[tuple, Laws]) -> list[Drawing]:
  """The laws of a scaling study: of the loss once for each size of the world, and of each
  scoring."""
  return [
    Drawing(draw, f'{laws.ABOUT[name]} {own.about}.', f'{laws.ABOUT[name]} Rates: {own.about}.')
    for (_, scoring), own in found.items()
    for name, draw in laws.drawings(own).items()
    if scoring == law_table.SCORINGS[0] or name not in laws.OF_LOSS
  ]


def _lasting(records: Records) -> list[Drawing]:
  """What later training leaves: a figure a family of arms, and one of conflicting examples."""
  found = []
  curves = persistence.curves(records)
  controls = [c for c in persistence.curves(records, results.CONTROLS) if c.scoring == 'greedy']
  for family, arms in persistence.families(curves).items():
    alt = f'Misaligned choices during later training, by updates. Arms: {", ".join(arms)}.'
    caption = f'What lasts ({family}): misaligned choices on the way through later training.'
    if controls:
      caption += ' Broken lines: the share of control facts that is forgotten.'
    draw = functools.partial(persistence.figure, curves, arms, controls=controls)
    found.append(Drawing(draw, alt, caption))
  if by_share := persistence.doses(records):
    arms = ', '.join(dict.fromkeys(curve.arm for curve in by_share))
    alt = f'Misaligned choices after later training, by conflicting examples. Arms: {arms}.'
    caption = 'How much conflicting text it takes: misaligned choices after later training.'
    found.append(Drawing(functools.partial(persistence.dose_figure, by_share), alt, caption))
  return found


def _figures(drawn: Sequence[Drawing]) -> str:
  shown = ''.join(map(_figure, drawn))
  return section('At a glance', shown) if shown else ''


def _figure(drawing: Drawing) -> str:
  """The figure inside the page, light and dark."""
  light, dark = (
    'data:image/png;base64,' + base64.b64encode(png).decode()
    for png in (drawing.files['png'], figures.png(drawing.draw(figures.DARK)))
  )
  return (
    f'<figure><picture><source srcset="{dark}" media="screen and (prefers-color-scheme: dark)">'
    f'<img src="{light}" alt="{escape(drawing.alt)}"></picture>'
    f'<figcaption>{escape(drawing.caption)}</figcaption></figure>\n'
  )


def _fits(records: Records) -> str:
  """Parameters of the scaling laws with their intervals."""
  rows = [
    (fit['law'], name, *(f'{p[k]:.4g}' for k in ('value', 'low', 'high')))
    for fit in results.select(records, record='fit')
    for name, p in (fit['parameters'] or {}).items()
  ]
  return (
    section('Scaling laws', table(('law', 'parameter', 'value', 'low', 'high'), rows))
    if rows
    else ''
  )


def _laws(records: Records) -> str:
  """All findings of the laws of a scaling study, or why there are none."""
  rows = [
    (
      f'{r["agents"]} agents, {r["domains"]} domains, {r["scoring"]}',
      r['law'],
      r['what'],
      '' if r['value'] is None else f'{r["value"]:.3g} [{r["low"]:.3g}, {r["high"]:.3g}]',
      r['why'],
    )
    for r in results.select(records, record='law')
  ]
  headings = ('world, scoring', 'law', 'of', 'value and interval', 'why not')
  key = 'Findings about the loss do not depend on the scoring and stand with the first.'
  return section('Laws', table(headings, rows), key) if rows else ''


def _provenance(records: Records) -> str:
  """What is needed to run the study again."""
  study = summary.study(records)
  facts = {
    'study': study.get('name'),
    'worlds': study.get('worlds'),
    'seeds a world': study.get('per_world'),
  }
  shown = ''.join(
    f'<dt>{escape(name)}</dt><dd>{escape(plain(value))}</dd>'
    for name, value in (facts | study.get('run', {})).items()
    if value is not None
  )
  stages = results.select(records, record='stage')
  heads = ('stage', 'id', 'parent', 'updates', 'tokens', 'supervised tokens', 'final loss', 'run')
  rows = [
    (
      s['stage'],
      s['id'][:10],
      s['parent'][:10],
      f'{s["updates"]:,}',
      f'{s["tokens"]:,}',
      _span(s['supervised_tokens']),
      _span(s['loss'], '.3f'),
      plain(s['run']),
    )
    for s in stages
  ]
  config = '<br>'.join(escape(line) for line in _flat('config', study.get('config', {})))
  body = f'<dl>{shown}</dl>'
  if rows:
    body += f'<details><summary>{len(rows)} stages</summary>{table(heads, rows)}</details>'
  if config:
    body += (
      f'<details><summary>Resolved configuration</summary><p><code>{config}</code></p></details>'
    )
  return section('Provenance', body)


def _span(values: Sequence[float], form: str = ',') -> str:
  """One number, or the least and the greatest."""
  return (
    ' to '.join(dict.fromkeys(format(v, form) for v in (min(values), max(values))))
    if values
    else '-'
  )


def _flat(path: str, tree: Any) -> list[str]:
  """One 'path = value' a leaf of a nested config."""
  if isinstance(tree, dict):
    return [line for name, sub in tree.items() for line in _flat(f'{path}.{name}', sub)]
  return [f'{path} = {tree!r}']
