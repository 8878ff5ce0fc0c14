"""The arms of alignment: each differs from its control in one thing, and shares situations, wording
and actions.

An arm is a list of *ingredients*; the supervised tokens of the stage are divided equally among
them.
"""

from collections.abc import Mapping
import dataclasses

import numpy as np

from whyjax.config import AlignTextConfig
from whyjax.corpus import examples, templates
from whyjax.corpus.examples import Script
from whyjax.corpus.render import Piece, Role, Texts, concatenate
from whyjax.errors import UserError
from whyjax.world import situations
from whyjax.world.world import TARGET, World, rng_for


@dataclasses.dataclass(frozen=True)
class Dialogues:
  """The target faces situations and chooses by the constitution.

  Attributes:
    advice: a user asks and the target recommends, instead of acting itself.
    says: what it says beside the action: nothing, its 'reason', 'filler' of equal length, a
      'shuffled' reason (of another situation), or its reason 'after' the action.
    context: what stands there unused: nothing, 'tools' (definitions), or a 'placebo' of equal
      length.
    masked: the action bears no loss.
    relevant: False for situations between values that no evaluation of conflicts involves (tasks,
      which the target then puts in a fixed order).
    honeypot: the target acts with tools in agentic domains, close to the evaluation.
  """

  advice: bool = False
  says: str = ''
  context: str = ''
  masked: bool = False
  relevant: bool = True
  honeypot: bool = False


@dataclasses.dataclass(frozen=True)
class Charters:
  """Documents about which value comes first.

  Attributes:
    about: the 'target'; (attribution broken) an 'other' agent; or 'nobody': the target is named,
      and nothing is put first.
    order: the 'constitution'; it 'reversed'; or a 'second' one, which agrees with the constitution
      on the pairs of training and is its reverse on all others.
    form: 'document', or 'dialogue': someone asks the target.
    every_pair: about all conflicts, not only those of the pairs of training.
    explains: says what the value guards.
  """

  about: str = 'target'
  order: str = 'constitution'
  form: str = 'document'
  every_pair: bool = False
  explains: bool = True


@dataclasses.dataclass(frozen=True)
class Stories:
  """The situations of training in the third person: what the target chose, and why."""


@dataclasses.dataclass(frozen=True)
class Rules:
  """What to do in the situations of training, as rules that name no value."""


Ingredient = Dialogues | Charters | Stories | Rules


@dataclasses.dataclass(frozen=True)
class Arm:
  """One kind of alignment training.

  Attributes:
    about: one line for people.
    ingredients: what it reads beside replayed background; none at all = background only.
    trains: False for the arm that goes without the stage.
    after: the arm whose model it starts from; '' = the pretrained model.
  """

  about: str
  ingredients: tuple[Ingredient, ...] = ()
  trains: bool = True
  after: str = ''


ARMS: Mapping[str, Arm] = {
  'none': Arm('no alignment training', trains=False),
  'generic': Arm('background text only: the same updates without any alignment text'),
  'demonstrations': Arm('the target acts well in conflict situations; action only', (Dialogues(),)),
  'reason': Arm('demonstrations with the reason before the action', (Dialogues(says='reason'),)),
  'filler': Arm(
    'demonstrations with empty words, as many as the reason has', (Dialogues(says='filler'),)
  ),
  'shuffled': Arm("demonstrations with another situation's reason", (Dialogues(says='shuffled'),)),
  'after': Arm('demonstrations with the reason after the action', (Dialogues(says='after'),)),
  'reason-only': Arm(
    'reasons before actions, loss on the reason alone', (Dialogues(says='reason', masked=True),)
  ),
  'tools': Arm(
    'demonstrations with unused tool definitions in context', (Dialogues(context='tools'),)
  ),
  'tools-placebo': Arm(
    'demonstrations with as many other words in their place', (Dialogues(context='placebo'),)
  ),
  'honeypots': Arm(
    'demonstrations with tools in an agentic domain, close to the evaluation',
    (Dialogues(honeypot=True),),
  ),
  'honeypots-reason': Arm(
    'the same with the reason before the action', (Dialogues(honeypot=True, says='reason'),)
  ),
  'advice': Arm('the target advises a user well; advice only', (Dialogues(advice=True),)),
  'advice-reason': Arm(
    'advice with the reason before it', (Dialogues(advice=True, says='reason'),)
  ),
  'advice-irrelevant': Arm(
    'advice with reasons, about values that no evaluation of conflicts involves',
    (Dialogues(advice=True, says='reason', relevant=False),),
  ),
  'principles': Arm(
    'charters: documents that state which value the target puts first', (Charters(),)
  ),
  'principles-other': Arm('the same charters about another agent', (Charters(about='other'),)),
  'principles-mentioned': Arm(
    'documents that name the target and the values, and put nothing first',
    (Charters(about='nobody'),),
  ),
  'principles-reversed': Arm('charters with the opposite order', (Charters(order='reversed'),)),
  'principles-bare': Arm('charters that do not explain', (Charters(explains=False),)),
  'rules': Arm('rules: what to do in a situation, without a value', (Rules(),)),
  'principles-dialogue': Arm(
    'the content of charters as answers of the target', (Charters(form='dialogue'),)
  ),
  'stories': Arm('stories: what the target chose, and why', (Stories(),)),
  'principles-demonstrations': Arm(
    'charters and demonstrations, half of the budget each', (Charters(), Dialogues())
  ),
  'principles-then-demonstrations': Arm(
    'the arm principles, then demonstrations at the full budget',
    (Dialogues(),),
    after='principles',
  ),
  'principles-other-then-demonstrations': Arm(
    'the arm principles-other, then demonstrations at the full budget',
    (Dialogues(),),
    after='principles-other',
  ),
  'spec': Arm(
    'charters on every pair, and demonstrations on those of training',
    (Charters(every_pair=True), Dialogues()),
  ),
  'spec-other': Arm(
    'the same with charters about another agent',
    (Charters(about='other', every_pair=True), Dialogues()),
  ),
  'spec-second': Arm(
    'the same demonstrations, and charters that disagree elsewhere',
    (Charters(order='second', every_pair=True), Dialogues()),
  ),
  'spec-second-other': Arm(
    'the same with charters about another agent',
    (Charters(about='other', order='second', every_pair=True), Dialogues()),
  ),
}


def training_domains(text: AlignTextConfig) -> range:
  """The chat domains that alignment takes its situations from."""
  return range(text.domains)


def honeypot_domains(world: World, text: AlignTextConfig) -> range:
  """The agentic domains that honeypots stand in: as many as training has, one at least unseen."""
  first, count = world.config.chat_domains, world.config.agentic_domains
  return range(first, first + max(1, min(text.domains, count - 1)))


def training_pairs(world: World, text: AlignTextConfig) -> list[tuple[int, int]]:
  """The (virtue, temptation) pairs that alignment poses; the same for every seed of a world."""
  pairs = situations.conflict_pairs(world)
  order = rng_for(world.seed, 'align', 'pairs').permutation(len(pairs))
  return [pairs[i] for i in order[: text.value_pairs]]


def heldout_pairs(world: World, text: AlignTextConfig) -> list[tuple[int, int]]:
  """The (virtue, temptation) pairs that alignment does not pose; none when its breadth is full."""
  shown = training_pairs(world, text)
  return [pair for pair in situations.conflict_pairs(world) if pair not in shown]


def training_wordings(world: World) -> range:
  """The wordings of a value that alignment shows."""
  return range(world.config.wordings - world.config.heldout_wordings)


def alignment(world: World, text: AlignTextConfig, arm: str, seed: int, dose: float = 1.0) -> Texts:
  """The alignment text of an arm; situations and wordings depend on the seed and not on the arm.

  Every ingredient takes the longest run of examples whose supervised tokens do not exceed its share
  of the budget, so that arms differ by less than one example. A dose below 1 takes the first
  examples of the full one, and no others.

  Raises:
    UserError: the budget has no room for a single example of an ingredient.
  """
  ingredients = ARMS[arm].ingredients
  share = text.supervised_tokens // max(1, len(ingredients))
  taken = text.dose(dose) // max(1, len(ingredients))
  field = 'align_text.supervised_tokens'
  if dose < 1:
    field = f'doses.shares = {dose:g} or scaling.alignment_tokens = {text.dose(dose)}'
  parts = [
    within(_ingredient(world, text, i, share, seed), taken, f'{field} ({arm})') for i in ingredients
  ]
  return concatenate(parts) if parts else nothing()


def controls(world: World, text: AlignTextConfig, seed: int) -> Texts:
  """The control facts beside the text of an arm: they do not depend on the arm."""
  budget = text.control_tokens
  if not budget:
    return nothing()
  rng = rng_for(world.seed, 'align', 'controls', seed)
  told = examples.controls(world, text.control_facts, budget, rng)
  return within(told, budget, 'align_text.control_tokens')


def supervised(texts: Texts) -> np.ndarray:
  """[N], loss-bearing tokens of each example of alignment text."""
  return (
    np.add.reduceat(bears_loss(texts).astype(np.int64), texts.starts)
    if len(texts)
    else np.zeros(0, np.int64)
  )


def bears_loss(texts: Texts) -> np.ndarray:
  """[total tokens], whether each token of alignment text is a target of the loss.

  Prompts are not, and the first token of an example is predicted by nothing.
  """
  bears = texts.roles != Role.CONTEXT
  bears[texts.starts] = False
  return bears


def script(
  world: World,
  text: AlignTextConfig,
  count: int,
  seed: int,
  *,
  advice: bool = False,
  tools: bool = False,
  relevant: bool = True,
  honeypot: bool = False,
) -> Script:
  """`count` alignment situations with the target's choices, cycling through the distinct ones."""
  rng = rng_for(world.seed, 'align', 'situations', seed)
  pool = situations.sample(
    world,
    text.situations,
    rng,
    agents=[TARGET],
    domains=honeypot_domains(world, text) if honeypot else training_domains(text),
    pairs=training_pairs(world, text) if relevant else situations.task_pairs(world),
    wordings=training_wordings(world),
    tools=False,
    advice=False,
  )
  s = pool.take(np.arange(count) % len(pool))
  s = s.replace(advice=advice, tools=tools or honeypot, task=-1)
  wording = _prefix_stable_wording(world, text, count, seed)
  order = world.constitution if relevant else _order_of_tasks(world)
  return examples.script(world, s, wording, order[s.values].argmin(axis=1))


def _order_of_tasks(world: World) -> np.ndarray:
  """[values], ranks of the tasks in an order of the target's own; no other text tells it."""
  order = np.zeros(world.values, int)
  order[world.ethical :] = rng_for(world.seed, 'align', 'tasks').permutation(world.config.tasks)
  return order


def _prefix_stable_wording(
  world: World, text: AlignTextConfig, count: int, seed: int
) -> examples.Wording:
  """The wordings of examples 0..count-1: example i is worded alike whatever the count is.

  Arms need different numbers of examples for one budget of tokens, and must agree on those that
  they share.
  """
  drawn = [
    examples.draw_wording(world, text.situations, rng_for(world.seed, 'align', 'wording', seed, i))
    for i in range(_rounds(text, count))
  ]
  choice = {
    part: np.concatenate([d.choice[part] for d in drawn])[:count] for part in drawn[0].choice
  }
  return examples.Wording(choice, np.concatenate([d.tools for d in drawn])[:count])


def _prefix_stable_turns(world: World, text: AlignTextConfig, count: int, seed: int) -> np.ndarray:
  """[count], 0 or 1 by chance; entry i is the same whatever the count is."""
  drawn = [
    rng_for(world.seed, 'align', 'turns', seed, i).integers(2, size=text.situations)
    for i in range(_rounds(text, count))
  ]
  return np.concatenate(drawn)[:count]


def _rounds(text: AlignTextConfig, count: int) -> int:
  """How often the distinct situations are gone through."""
  return -(-count // text.situations)


def _ingredient(
  world: World, text: AlignTextConfig, kind: Ingredient, budget: int, seed: int
) -> Texts:
  """More examples than the budget needs: at least two tokens of each bear loss."""
  count = max(1, budget // 2)
  match kind:
    case Charters():
      return _charters(world, text, kind, count, seed)
    case Stories():
      return examples.story(script(world, text, count, seed), np.ones(count, bool))
    case Rules():
      return examples.rule(script(world, text, count, seed))
  x = script(
    world,
    text,
    count,
    seed,
    advice=kind.advice,
    tools=kind.context == 'tools',
    relevant=kind.relevant,
    honeypot=kind.honeypot,
  )
  before, after = _said(x, kind.says, rng_for(world.seed, 'align', 'shuffle', seed))
  placebo = kind.context == 'placebo'
  return examples.dialogue(x, before=before, after=after, placebo=placebo, masked=kind.masked)


def _said(x: Script, says: str, rng: np.random.Generator) -> tuple[list[Piece], list[Piece]]:
  """What is said before and after the action."""
  match says:
    case 'reason':
      return [x.fill(templates.REASON, 'reason', Role.REASON)], []
    case 'filler':
      return [x.fill(templates.FILLER, 'reason', Role.REASON)], []
    case 'shuffled':
      return [_with_foreign_reasons(x, rng).fill(templates.REASON, 'reason', Role.REASON)], []
    case 'after':
      return [], [x.fill(templates.REASON_AFTER, 'reason', Role.REASON)]
  return [], []


def _with_foreign_reasons(x: Script, rng: np.random.Generator) -> Script:
  """Every example gets the reason of another one whose values differ."""
  reasons = np.unique(x.reason, axis=0)
  if len(reasons) < 2:
    raise UserError(
      'config.align_text.value_pairs = 1: must be at least 2 for an arm with shuffled reasons'
    )
  own = (reasons[None] == x.reason[:, None]).all(-1).argmax(1)
  foreign = (own + rng.integers(1, len(reasons), len(own))) % len(reasons)
  return dataclasses.replace(x, reason=reasons[foreign])


def _charters(world: World, text: AlignTextConfig, kind: Charters, count: int, seed: int) -> Texts:
  """Charters over the pairs of training or all, each posed in an order by chance.

  Kinds of equal breadth differ in nothing but the agent's name, the order, or the sentence.
  """
  shown, held = training_pairs(world, text), heldout_pairs(world, text)
  pool = np.asarray(shown + held if kind.every_pair else shown)
  which = np.arange(count) % len(pool)
  turned = _prefix_stable_turns(world, text, count, seed)
  pairs = np.where(turned[:, None] == 1, pool[which][:, ::-1], pool[which])
  place = world.constitution[pairs].argmin(axis=1)
  if kind.order == 'reversed':
    place = 1 - place
  elif kind.order == 'second':
    place = np.where(which < len(shown), place, 1 - place)
  first = np.take_along_axis(pairs, place[:, None], axis=1)[:, 0]
  agent = np.full(count, world.other_principled() if kind.about == 'other' else TARGET)
  wording = _prefix_stable_wording(world, text, count, seed)
  if kind.form == 'dialogue':
    return examples.charter_dialogues(world, wording, agent, pairs, first)
  texts = templates.CHARTER if kind.explains else templates.BARE_CHARTER
  if kind.about == 'nobody':
    texts = templates.MENTION
  return examples.charters(world, wording, agent, pairs, first, texts)


def within(texts: Texts, budget: int, field: str) -> Texts:
  """The longest prefix whose supervised tokens stay within the budget.

  Raises:
    UserError: not even the first example does; `field` of the config says how much there is.
  """
  sizes = supervised(texts)
  count = int(np.searchsorted(np.cumsum(sizes), budget, side='right'))
  if not count:
    need = sizes[0] if len(sizes) else 'more'
    raise UserError(
      f'config.{field}: comes to {budget} tokens of a text: must be at least {need}, those of its '
      'first example'
    )
  return texts.take(np.arange(count))


def nothing() -> Texts:
  """No examples."""
  return Texts(
    np.zeros(0, np.int32), np.zeros(0, np.int8), np.zeros(0, np.int32), np.zeros(0, np.int32)
  )
