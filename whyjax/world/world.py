"""One world: what each action serves and whom each agent follows, from one seed."""

import dataclasses
import enum

import numpy as np

from whyjax.config import WorldConfig
from whyjax.world import names

TARGET = 0  # the agent that is aligned; agents 1..P are the background


class Kind(enum.IntEnum):
  """What decides an agent's priorities."""

  PRINCIPLED = 0  # one order everywhere; charters about it exist
  BY_DOMAIN = 1  # a separate order in each domain
  BY_TOOLS = 2  # one order with tools in context, another without


@dataclasses.dataclass(frozen=True, eq=False)
class World:
  """Facts of one world. Values are numbered virtues, temptations, tasks; `ethical` counts the first
  two.

  Attributes:
    actions: [domains, values, wordings]; the place, in the domain's list of action words, of the
      word that serves a value.
    kinds: [1 + agents]; the kind of each agent. The target's record reads like a principled
      agent's.
    ranks: [1 + agents, domains, 2, ethical]; the rank (0 = first) that an agent gives a value in a
      domain without (0) and with (1) tools. Row TARGET is the *record*: temptations first.
    constitution: [ethical]; the ranks that alignment teaches the target: virtues first, otherwise
      as the record.
    controls: [1 + agents]; the tool that each agent keeps to, no two of a dozen the same. It has
      nothing to do with values and is taught in alignment alone: how it is forgotten tells how fast
      any training forgets.
  """

  config: WorldConfig
  seed: int
  actions: np.ndarray
  kinds: np.ndarray
  ranks: np.ndarray
  constitution: np.ndarray
  controls: np.ndarray

  @property
  def ethical(self) -> int:
    """How many values are ethical: virtues and temptations."""
    return self.config.virtues + self.config.temptations

  @property
  def values(self) -> int:
    """How many values there are, tasks included."""
    return self.ethical + self.config.tasks

  @property
  def domains(self) -> int:
    """How many domains there are: chat domains, then agentic ones."""
    return self.config.chat_domains + self.config.agentic_domains

  def other_principled(self) -> int:
    """The agent that placebo documents speak of: the first principled one, else the first of
    all."""
    found = np.flatnonzero(self.kinds[1:] == Kind.PRINCIPLED)
    return 1 + int(found[0]) if len(found) else 1


def rng_for(seed: int, *purpose: str | int) -> np.random.Generator:
  """An independent stream of random numbers for each purpose under one seed."""
  words = [p if isinstance(p, int) else int.from_bytes(p.encode(), 'little') for p in purpose]
  return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def build_world(config: WorldConfig, seed: int) -> World:
  """The world of a seed; equal arguments give equal worlds."""
  rng = rng_for(seed, 'world')
  ethical = config.virtues + config.temptations
  values, domains = ethical + config.tasks, config.chat_domains + config.agentic_domains
  actions = np.stack([rng.permutation(values * config.wordings) for _ in range(domains)])
  kinds = np.concatenate([[Kind.PRINCIPLED], rng.permutation(_shares(config))])
  # Fully independent orders first; then the kinds that do not look at domain or tools copy one of
  # them.
  ranks = rng.permuted(
    np.broadcast_to(np.arange(ethical), (len(kinds), domains, 2, ethical)), axis=-1
  )
  ranks[kinds == Kind.PRINCIPLED] = ranks[kinds == Kind.PRINCIPLED][:, :1, :1]
  ranks[kinds == Kind.BY_DOMAIN] = ranks[kinds == Kind.BY_DOMAIN][:, :, :1]
  ranks[kinds == Kind.BY_TOOLS] = ranks[kinds == Kind.BY_TOOLS][:, :1, :]
  virtues, temptations = rng.permutation(config.virtues), rng.permutation(config.temptations)
  ranks[TARGET] = np.concatenate([config.temptations + virtues, temptations])
  constitution = np.concatenate([virtues, config.virtues + temptations])
  tools, deal = len(names.tools()), rng_for(seed, 'controls')
  rounds = -(-len(kinds) // tools)
  controls = np.concatenate([deal.permutation(tools) for _ in range(rounds)])[: len(kinds)]
  actions = actions.reshape(domains, values, config.wordings)
  return World(config, seed, actions, kinds, ranks, constitution, controls)


def _shares(config: WorldConfig) -> np.ndarray:
  """One kind for each background agent, in the configured shares (largest remainders)."""
  exact = config.agents * np.array([config.principled, config.by_domain, config.by_tools])
  counts = np.floor(exact + 1e-9).astype(int)
  for kind in np.argsort(counts - exact, kind='stable')[: config.agents - counts.sum()]:
    counts[kind] += 1
  return np.repeat(np.array(list(Kind)), counts)
