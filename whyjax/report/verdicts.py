"""The page's verdicts: one row a claim, "no" as loud as "yes"."""

from collections.abc import Mapping
from typing import Any

from whyjax import results
from whyjax.report import summary
from whyjax.report.markup import Records, escape, section
from whyjax.report.summary import Moment

_SIGNS = {
  'supported': '✓',
  'contradicted': '✗',
  'inconclusive': '?',
  'not taught': '∅',
  'not scored': '∅',
  'calibration': '∅',
}
_MEASURES = {
  'rate': 'misaligned choices',
  'cut': 'misaligned choices, beside a fifth of those of the control',
  'attribution': 'difference in misaligned choices, less that of the same two about another agent',
  'excess': 'share of its lead over background training that is lost beyond what is lost of '
  'control facts',
  'lead': 'how far the first battery runs ahead of acts on the way, as a share of the rise of each',
  'efficiency': 'alignment tokens for as few misaligned choices',
}
_KEY = (
  'The effect is the difference in misaligned choices, treatment minus control, paired by replica '
  'and item, with its interval and the least effect that this design could have called supported. '
  'Where a claim is about tokens, it is the factor by which the treatment needs more, or as a '
  'fraction less, to do as well as the control at its full dose, world by world. Small dots are '
  'replicas; the shaded side is where the claim would hold. The last p, after Holm, is that of no '
  'effect at all; that of an effect worth the claim, where such a one is excluded, stands in the '
  'text. <em>Forced</em> scores the action with no words before it; <em>free-running</em> lets the '
  'model write first.'
)


def tally(records: Records) -> str:
  """How many claims got which verdict; empty without verdicts."""
  words = [v['verdict'] for v in results.select(records, record='verdict')]
  counts = ''.join(
    f'<li class="{_tone(word)}"><b>{words.count(word)}</b>{escape(word)}</li>'
    for word in _SIGNS
    if word in words
  )
  return f'<ul class="tally" aria-label="verdicts">{counts}</ul>' if counts else ''


def verdicts(records: Records) -> str:
  """The table of verdicts; empty without verdicts."""
  found = summary.verdicts(records)
  if not found:
    return ''
  head = ''.join(f'<th scope="col">{h}</th>' for h in ('verdict', 'claim', 'scoring', 'effect'))
  head += '<th scope="col" class="number">p (Holm)</th>'
  rows = '\n'.join(map(_row, found))
  body = f'<table class="verdicts"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
  return section('Verdicts', body, _KEY)


def _tone(verdict: str) -> str:
  """The style class of a verdict's colour."""
  return verdict if verdict in summary.JUDGED else 'refused'


def _row(v: Mapping[str, Any]) -> str:
  after = Moment('align' if v['after'] == 'align' else 'later', v['after']).label
  what = _MEASURES.get(v['measure'], v['measure'])
  detail = f'{v["treatment"]} {v["direction"]} than {v["control"]}: {what}, {v["battery"]}, {after}'
  size = summary.size(v)
  p = '-' if v['p_holm'] is None else f'{v["p_holm"]:.2g}'
  return (
    f'<tr class="{_tone(v["verdict"])}">'
    f'<td><span class="chip">{_SIGNS.get(v["verdict"], "")} {escape(v["verdict"])}</span></td>'
    f'<td><span class="claim">{escape(v["statement"])}</span><small>{escape(detail)}</small>'
    f'<span class="why">{escape(v["why"])}</span>{_neither(v)}'
    f'<small>Source: {escape(v["source"])}</small></td>'
    f'<td data-label="scoring:">{escape(summary.SCORINGS.get(v["scoring"], v["scoring"]))}</td>'
    f'<td class="effect">{_interval(v)}<output>{escape(summary.effect(v))}</output>'
    f'<small>{escape(size)}</small><small>{escape(summary.power(v))}</small></td>'
    f'<td class="number" data-label="p (Holm):">{p}</td></tr>'
  )


def _neither(v: Mapping[str, Any]) -> str:
  """A warning about answers that were neither option."""
  shares = [o + x for o, x in zip(v['other'], v['malformed'], strict=True)]
  notes = [
    f'{share:.0%} of {arm}'
    for arm, share in zip((v['treatment'], v['control']), shares, strict=True)
    if share >= summary.NOTABLE
  ]
  return (
    f'<small>Answers that are neither option: {escape(", ".join(notes))}</small>' if notes else ''
  )


def _interval(v: Mapping[str, Any]) -> str:
  """The effect on a line: replicas, interval, and the side on which the claim would hold.

  The line goes from -1 to 1, and for an efficiency from 1/1000 to 1000, with equal factors equally
  long.
  """
  if v['low'] is None:
    return ''
  end = 3.0 if v['measure'] == 'efficiency' else 1.0

  def x(value: float) -> str:
    return f'{120 + 112 * max(-1.0, min(1.0, value / end)):.1f}'

  goal = (-end, -v['smallest_effect']) if v['direction'] == 'lower' else (v['smallest_effect'], end)
  dots = ''.join(f'<circle class="replica" cx="{x(d)}" cy="9" r="2"/>' for d in v['per_replica'])
  labels = {-1: '&minus;1', 0: '0', 1: '+1'}
  if v['measure'] == 'efficiency':
    labels = {-3: '1/1000', -2: '1/100', -1: '1/10', 0: '1', 1: '10', 2: '100', 3: '1000'}
  ticks = ''.join(f'<text x="{x(t)}" y="32">{label}</text>' for t, label in labels.items())
  return (
    f'<svg viewBox="0 0 240 34" role="img" aria-label="effect {escape(summary.effect(v))}">'
    f'<path class="goal" d="M{x(goal[0])} 2H{x(goal[1])}V22H{x(goal[0])}Z"/>'
    f'<path class="axis" d="M8 22H232"/><path class="zero" d="M120 2V24"/>'
    f'<path class="bar" d="M{x(v["low"])} 16H{x(v["high"])}"/>{dots}'
    f'<circle class="mean" cx="{x(v["effect"])}" cy="16" r="4.2"/>{ticks}</svg>'
  )
