"""The closed vocabulary: one token a word, the same for every world of the same sizes."""

from collections.abc import Iterable, Sequence
import dataclasses
import functools

import numpy as np

from whyjax.config import WorldConfig
from whyjax.corpus import templates
from whyjax.world import names

PAD, END = 0, 1
_MULTIPLE = 64  # the output head's width: whole tiles on every accelerator


@dataclasses.dataclass(frozen=True, eq=False)
class Vocabulary:
  """Words and the token ids of everything in the world.

  Attributes:
    words: the word of each id.
    values, grounds, agents, persons, times, tools, domains: [n] ids by the world's numbering.
    actions: [domains, action words] ids.
  """

  words: tuple[str, ...]
  values: np.ndarray
  grounds: np.ndarray
  agents: np.ndarray
  persons: np.ndarray
  times: np.ndarray
  tools: np.ndarray
  domains: np.ndarray
  actions: np.ndarray

  @functools.cached_property
  def ids(self) -> dict[str, int]:
    """The id of each word."""
    return {word: i for i, word in enumerate(self.words)}

  @property
  def size(self) -> int:
    """Rows of the embedding table: the words, rounded up to whole tiles."""
    return -(-len(self.words) // _MULTIPLE) * _MULTIPLE

  def encode(self, text: str) -> list[int]:
    """The ids of a text's words; KeyError on a word outside the vocabulary."""
    return [self.ids[word] for word in text.split()]

  def decode(self, ids: Iterable[int]) -> str:
    """The text of `ids`; an id that no word has is shown as <id>."""
    return ' '.join(self.words[i] if i < len(self.words) else f'<{i}>' for i in ids)


@functools.cache
def vocabulary(config: WorldConfig) -> Vocabulary:
  """The vocabulary of a world's sizes; it does not depend on the world's seed."""
  domains = names.domains(config.chat_domains, config.agentic_domains)
  ethical = config.virtues + config.temptations
  groups = dict(
    values=names.virtues(config.virtues)
    + names.temptations(config.temptations)
    + names.tasks(config.tasks),
    grounds=names.grounds(ethical),
    agents=names.agents(config.agents),
    persons=names.persons(),
    times=names.times(),
    tools=names.tools(),
    domains=domains,
  )
  per_domain = (ethical + config.tasks) * config.wordings
  actions = [names.actions(domain, per_domain) for domain in domains]
  words = ['<pad>', '<end>', *_template_words()]
  for group in (*groups.values(), *actions):
    words += group
  ids: dict[str, int] = {}
  for word in words:
    ids.setdefault(word, len(ids))

  def lookup(group):
    return np.array([ids[word] for word in group], np.int32)

  return Vocabulary(
    words=tuple(ids),
    actions=np.stack([lookup(a) for a in actions]),
    **{k: lookup(g) for k, g in groups.items()},
  )


def _template_words() -> Sequence[str]:
  """Every fixed word of every template, sorted."""
  found = {word for group in templates.ALL for text in group for word in text.split()}
  return sorted(word for word in found if not word.startswith('{'))
