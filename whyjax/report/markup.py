"""Small pieces of HTML. Every value from a results file passes through `escape`."""

from collections.abc import Iterable, Mapping, Sequence
import html
from typing import Any

Records = Sequence[Mapping[str, Any]]


def escape(value: Any) -> str:
  """Text that is safe between tags and inside quoted attributes."""
  return html.escape(str(value))


def section(title: str, body: str, key: str = '') -> str:
  """A headed part of the page; `key` (HTML) says how to read it."""
  note = f'<p class="key">{key}</p>' if key else ''
  return f'<section><h2>{title}</h2>{note}{body}</section>\n'


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """A plain table of unescaped values."""
  head = ''.join(f'<th scope="col">{escape(h)}</th>' for h in headings)
  body = ''.join('<tr>' + ''.join(f'<td>{escape(v)}</td>' for v in row) + '</tr>' for row in rows)
  return (
    f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
  )


def plain(value: Any) -> str:
  """A value of a results file in words: groups as 'name value', lists with commas."""
  if isinstance(value, dict):
    return ', '.join(f'{name} {plain(v)}' for name, v in value.items())
  if isinstance(value, (list, tuple)):
    return ', '.join(map(plain, value))
  return f'{value:.4g}' if isinstance(value, float) else str(value)
