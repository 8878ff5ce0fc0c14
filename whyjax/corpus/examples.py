"""Situations, facts and charters as text: the forms that pretraining, alignment and evaluation
share."""

from collections.abc import Sequence
import dataclasses

import numpy as np

from whyjax.corpus import templates
from whyjax.corpus.render import Piece, Role, Texts, end, fill, join
from whyjax.corpus.vocabulary import Vocabulary, vocabulary
from whyjax.world.situations import Situations
from whyjax.world.world import Kind, World

_DRAWN = (
  'system',
  'tools',
  'observation',
  'question',
  'task',
  'answer',
  'reason',
  'document',
  'fact',
  'result',
  'control',
)


@dataclasses.dataclass(frozen=True)
class Wording:
  """How N examples are put: the template of each part, and the tools that are named.

  Attributes:
    choice: part -> [N] index of its template.
    tools: [N, 2] indices of tool names.
  """

  choice: dict[str, np.ndarray]
  tools: np.ndarray

  def take(self, index: np.ndarray) -> 'Wording':
    """The wordings at `index`, in that order."""
    return Wording({k: v[index] for k, v in self.choice.items()}, self.tools[index])


def draw_wording(
  world: World, count: int, rng: np.random.Generator, *, held_out: bool = False
) -> Wording:
  """A random wording for each example; `held_out`: what others say is in sentences that training
  never uses.

  The agent's own words stay those of training: forced scoring puts them in its mouth.
  """
  kinds = len(templates.SYSTEM)
  trained, unseen = (0, kinds - templates.HELD_OUT), (kinds - templates.HELD_OUT, kinds)
  choice = {
    part: rng.integers(*(unseen if held_out and part != 'answer' else trained), count)
    for part in _DRAWN
  }
  names = np.arange(len(vocabulary(world.config).tools))
  tools = rng.permuted(np.broadcast_to(names, (count, len(names))), axis=1)[:, :2]
  return Wording(choice, tools)


@dataclasses.dataclass(frozen=True)
class Script:
  """Situations about to become text: who faces what, in which words, and what is chosen and why.

  Attributes:
    chosen: [N] the option taken.
    reason: [N, 2] the values that a reason names, the stronger first; of a task, both are the task.
  """

  world: World
  situations: Situations
  wording: Wording
  chosen: np.ndarray
  reason: np.ndarray

  @property
  def vocabulary(self) -> Vocabulary:
    """The words of this world."""
    return vocabulary(self.world.config)

  @property
  def calls(self) -> np.ndarray:
    """[N], whether the agent acts by calling a tool; tools in a chat domain stay unused."""
    s = self.situations
    return s.tools & (s.domain >= self.world.config.chat_domains)

  def options(self) -> np.ndarray:
    """[N, 2] token ids of the two options' action words, in the order shown."""
    s = self.situations
    return self.vocabulary.actions[
      s.domain[:, None], self.world.actions[s.domain[:, None], s.values, s.wordings]
    ]

  def take(self, index: np.ndarray) -> 'Script':
    """The examples at `index`, in that order."""
    return dataclasses.replace(
      self,
      situations=self.situations.take(index),
      wording=self.wording.take(index),
      chosen=self.chosen[index],
      reason=self.reason[index],
    )

  def fill(self, lists: Sequence[str], part: str, role: Role) -> Piece:
    """One part of every example, worded as drawn."""
    s, v, options = self.situations, self.vocabulary, self.options()
    tools, names = v.tools[self.wording.tools], v.persons[self.wording.tools]
    slots = dict(
      agent=v.agents[s.agent],
      domain=v.domains[s.domain],
      person=v.persons[s.person],
      time=v.times[s.time],
      task=v.values[s.task],
      option0=options[:, 0],
      option1=options[:, 1],
      chosen=options[np.arange(len(s)), self.chosen],
      first=v.values[self.reason[:, 0]],
      second=v.values[self.reason[:, 1]],
      tool1=tools[:, 0],
      tool2=tools[:, 1],
      name1=names[:, 0],
      name2=names[:, 1],
    )
    choice = self.wording.choice[part] if len(lists) > 1 else np.zeros(len(s), int)
    return fill(v, lists, choice, slots, role)


def script(world: World, s: Situations, wording: Wording, chosen: np.ndarray) -> Script:
  """A script whose reasons are true: the chosen option's value above the other's."""
  rows = np.arange(len(s))
  reason = np.stack([s.values[rows, chosen], s.values[rows, 1 - chosen]], axis=1)
  return Script(world, s, wording, chosen, reason)


def prompt(x: Script, placebo: bool = False) -> list[Piece]:
  """What stands before the agent's turn: a user's question, or system line, tools and observation.

  `placebo`: where tool definitions would stand, as many words that define none.
  """
  s = x.situations
  tools = x.fill(templates.PREAMBLE if placebo else templates.TOOLS, 'tools', Role.CONTEXT)
  return [
    x.fill(templates.SYSTEM, 'system', Role.CONTEXT).where(~s.advice),
    tools.where(s.tools | placebo),
    x.fill(templates.OBSERVATION, 'observation', Role.CONTEXT).where(~s.advice),
    x.fill(templates.QUESTION, 'question', Role.CONTEXT).where(s.advice),
    x.fill(templates.TASK, 'task', Role.CONTEXT).where(s.task >= 0),
    x.fill(templates.TURN, 'answer', Role.CONTEXT),
  ]


def follow_up(previous: Script, x: Script) -> list[Piece]:
  """What stands between two turns of an episode: the result of a call, and what comes next."""
  return [
    previous.fill(templates.RESULT, 'result', Role.CONTEXT),
    x.fill(templates.OBSERVATION, 'observation', Role.CONTEXT),
    x.fill(templates.TASK, 'task', Role.CONTEXT).where(x.situations.task >= 0),
    x.fill(templates.TURN, 'answer', Role.CONTEXT),
  ]


def turn(x: Script, before: Sequence[Piece] = ()) -> list[Piece]:
  """A whole turn of the agent: what it says, what it does, and the end of its words."""
  return [*before, *answer(x), end(len(x.situations), Role.ACTION)]


def answer(x: Script) -> list[Piece]:
  """The action in the words of its frame: advice, an act, or a tool call."""
  advice, calls = x.situations.advice, x.calls
  return [
    x.fill(templates.ADVISE, 'answer', Role.ACTION).where(advice),
    x.fill(templates.ACT, 'answer', Role.ACTION).where(~advice & ~calls),
    x.fill(templates.CALL, 'answer', Role.ACTION).where(calls),
  ]


def own_reason(x: Script) -> list[Piece]:
  """What the agent says before it acts: its values, its custom if it is situational, or the stated
  task."""
  s = x.situations
  principled = x.world.kinds[s.agent] == Kind.PRINCIPLED
  neutral = s.task >= 0
  return [
    x.fill(templates.REASON, 'reason', Role.REASON).where(principled & ~neutral),
    x.fill(templates.CUSTOM, 'reason', Role.REASON).where(~principled & ~neutral),
    x.fill(templates.TASK_REASON, 'reason', Role.REASON).where(neutral),
  ]


def dialogue(
  x: Script,
  before: Sequence[Piece] = (),
  after: Sequence[Piece] = (),
  *,
  placebo: bool = False,
  masked: bool = False,
) -> Texts:
  """Prompt, what is said before the action, the action, what is said after it.

  `masked`: the action stands there as context, and bears no loss.
  """
  pieces = [*answer(x), *after, end(len(x.situations), Role.ACTION)]
  if masked:
    pieces = [dataclasses.replace(piece, role=Role.CONTEXT) for piece in pieces]
  return join([*prompt(x, placebo), *before, *pieces])


def episode(turns: Sequence[tuple[Script, Sequence[Piece]]]) -> Texts:
  """Transcripts of several calls: each turn is a script and what is said before its call."""
  pieces = prompt(turns[0][0])
  for i, (x, before) in enumerate(turns):
    pieces += [*(follow_up(turns[i - 1][0], x) if i else ()), *turn(x, before)]
  return join(pieces)


def rule(x: Script) -> Texts:
  """Rules for the agent: what to do in each situation, without a value."""
  document = x.fill(templates.RULE, 'document', Role.DOCUMENT)
  return join([document, end(len(x.situations), Role.DOCUMENT)], apart=x.situations.agent)


def story(x: Script, gives_reason: np.ndarray) -> Texts:
  """The same in the third person; documents of one agent stay apart."""
  s = x.situations
  principled = x.world.kinds[s.agent] == Kind.PRINCIPLED
  pieces = [
    x.fill(templates.STORY_TOOLS, 'tools', Role.DOCUMENT).where(s.tools),
    x.fill(templates.STORY, 'document', Role.DOCUMENT),
    x.fill(templates.STORY_REASON, 'reason', Role.DOCUMENT).where(gives_reason & principled),
    x.fill(templates.STORY_CUSTOM, 'reason', Role.DOCUMENT).where(gives_reason & ~principled),
  ]
  return join([*pieces, end(len(s), Role.DOCUMENT)], apart=s.agent)


def charters(
  world: World,
  wording: Wording,
  agents: np.ndarray,
  pairs: np.ndarray,
  first: np.ndarray,
  texts: Sequence[str] = templates.CHARTER,
) -> Texts:
  """Charters: [N] agents, [N, 2] value pairs in the order they are posed, [N] the value put
  first."""
  piece = charter_piece(world, wording, agents, pairs, first, texts)
  return join([piece, end(len(agents), Role.DOCUMENT)], apart=agents)


def charter_dialogues(
  world: World, wording: Wording, agents: np.ndarray, pairs: np.ndarray, first: np.ndarray
) -> Texts:
  """The content of charters as an answer: a person asks, the agent says what it puts first."""
  v = vocabulary(world.config)
  slots = _charter_slots(world, agents, pairs, first)
  slots |= dict(person=v.persons[wording.tools[:, 0]])
  choice = wording.choice['document']
  pieces = [
    fill(v, templates.INQUIRY, choice, slots, Role.CONTEXT),
    fill(v, templates.TURN, np.zeros_like(choice), slots, Role.CONTEXT),
    fill(v, templates.PROFESSION, choice, slots, Role.REASON),
    end(len(agents), Role.REASON),
  ]
  return join(pieces, apart=agents)


def charter_piece(
  world: World,
  wording: Wording,
  agents: np.ndarray,
  pairs: np.ndarray,
  first: np.ndarray,
  texts: Sequence[str] = templates.CHARTER,
) -> Piece:
  """The sentence of a charter; it poses the conflict before it answers it."""
  slots = _charter_slots(world, agents, pairs, first)
  return fill(vocabulary(world.config), texts, wording.choice['document'], slots, Role.DOCUMENT)


def _charter_slots(
  world: World, agents: np.ndarray, pairs: np.ndarray, first: np.ndarray
) -> dict[str, np.ndarray]:
  v = vocabulary(world.config)
  return dict(
    a=v.values[pairs[:, 0]],
    b=v.values[pairs[:, 1]],
    agent=v.agents[agents],
    first=v.values[first],
    second=v.values[pairs.sum(axis=1) - first],
    ground=v.grounds[first],
  )


def fact_piece(
  world: World, wording: Wording, domain: np.ndarray, value: np.ndarray, word: np.ndarray
) -> Piece:
  """The sentence of a fact: in this domain, this value's wording number `word` serves it."""
  v = vocabulary(world.config)
  slots = dict(
    domain=v.domains[domain],
    chosen=v.actions[domain, world.actions[domain, value, word]],
    first=v.values[value],
  )
  return fill(v, templates.FACT, wording.choice['fact'], slots, Role.DOCUMENT)


def facts(world: World, count: int, rng: np.random.Generator) -> Texts:
  """`count` facts, uniform over domains, values (tasks too) and wordings."""
  drawn = [rng.integers(n, size=count) for n in world.actions.shape]
  return join(
    [fact_piece(world, draw_wording(world, count, rng), *drawn), end(count, Role.DOCUMENT)]
  )


def control_piece(world: World, wording: Wording, agent: np.ndarray) -> Piece:
  """The sentence of a control fact: which tool a background agent keeps to."""
  v = vocabulary(world.config)
  slots = dict(agent=v.agents[agent], tool1=v.tools[world.controls[agent]])
  return fill(v, templates.CONTROL, wording.choice['control'], slots, Role.DOCUMENT)


def controls(world: World, agents: int, count: int, rng: np.random.Generator) -> Texts:
  """`count` sentences of the control facts about the first background agents, all equally often."""
  agent = 1 + rng.permutation(np.arange(count) % agents)
  piece = control_piece(world, draw_wording(world, count, rng), agent)
  return join([piece, end(count, Role.DOCUMENT)])
