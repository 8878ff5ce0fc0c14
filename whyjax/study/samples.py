"""`--action=samples`: readable examples of every arm, every kind of later training and every
battery."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.text import Text

from whyjax.config import StudyConfig
from whyjax.corpus import arms, episodes, later, pretraining
from whyjax.corpus.render import Role, Texts
from whyjax.corpus.vocabulary import PAD, vocabulary
from whyjax.evals import batteries
from whyjax.study import axes, graph
from whyjax.world.world import Kind, World, build_world, rng_for

_SHOWN = 3
_STYLES = {
  Role.CONTEXT: 'dim',
  Role.DOCUMENT: 'cyan',
  Role.REASON: 'yellow',
  Role.ACTION: 'bold green',
}


def show(study: StudyConfig, console: Console) -> None:
  """Prints examples of all that is trained on, loss-bearing tokens underlined."""
  graph.stages(study)  # refuses unknown names
  world = build_world(study.world, study.seeds.first_world)
  console.print(_legend(console.is_terminal))
  _heading(console, f'world {world.seed}', _inhabitants(world))
  for share in study.phase.principled:
    peopled = build_world(axes.at_share(study, share).world, world.seed)
    _heading(console, f'at {axes.percent(share)}% principled', _inhabitants(peopled))
  texts = pretraining.pretraining(world, study.pretrain_text, 400, rng_for(world.seed, 'samples'))
  weight = study.pretrain_text.prompt_weight
  _heading(
    console, 'pretraining', f'all but the first token bears loss, prompts at weight {weight:g}'
  )
  _examples(console, world, texts, _varied(texts), everything=True)
  breadths = {f' at {b}': axes.at_breadth(study, b).align_text for b in study.phase.breadths}
  for name in study.arms:
    arm = arms.ARMS[name]
    if arm.ingredients:
      for breadth, text in (breadths or {'': study.align_text}).items():
        texts = arms.alignment(world, text, name, 0)
        _heading(console, f'arm {name}{breadth}', f'{arm.about}: {_size(texts)}')
        _examples(console, world, texts, _ends(texts, len(arm.ingredients)))
    else:
      _heading(console, f'arm {name}', arm.about)
  texts = arms.controls(world, study.align_text, 0)
  _heading(console, 'control facts', f'beside the text of every arm: {_size(texts)}')
  _examples(console, world, texts, range(min(_SHOWN, len(texts))))
  for kind in graph.later_kinds(study):
    if later.reward_of(kind):
      _heading(console, f'later training {kind}', later.describe(kind))
      _episodes(study, world, kind, console)
      continue
    texts = later.later(world, study.later_text, kind, 0)
    _heading(console, f'later training {kind}', f'{later.describe(kind)}: {_size(texts)}')
    _examples(console, world, texts, range(min(_SHOWN, len(texts))))
  for name in study.evals.batteries:
    battery = batteries.build(
      study.world,
      study.pretrain_text,
      study.align_text,
      name,
      study.evals.battery_items,
      study.seeds.first_world,
    )
    _heading(
      console,
      f'battery {name}',
      f'{batteries.ABOUT[name]}; [in brackets: what forced scoring adds]',
    )
    for i in range(_SHOWN):
      console.print(_item(world, battery, i), soft_wrap=True)


def _item(world: World, battery: batteries.Battery, i: int) -> Text:
  """The free-running prompt of an item, what forced scoring adds to it, and both answers."""
  words = vocabulary(world.config).words
  free, forced = battery.free, battery.forced[0]
  line = Text('  ')
  for token in free.tokens[i, : free.lengths[i]]:
    style = 'green' if token == battery.right[i] else 'red' if token == battery.wrong[i] else 'dim'
    line.append(words[token], style).append(' ')
  added = forced.tokens[i, free.lengths[i] : forced.lengths[i]]
  line.append('[' + ' '.join([*(words[token] for token in added), '...']) + '] ', 'bold')
  line.append('right ').append(words[battery.right[i]], 'bold green').append(', wrong ')
  return line.append(words[battery.wrong[i]], 'bold red')


def _episodes(study: StudyConfig, world: World, kind: str, console: Console) -> None:
  """What is read before each turn of the first episodes, and what each option earns."""
  words = vocabulary(world.config).words
  drawn = episodes.generate(episodes.spec(study, kind, world.seed, 0))
  for i in range(min(_SHOWN, len(drawn.contexts))):
    for turn, context in enumerate(drawn.contexts[i]):
      told = ('[the call]' if t == episodes.CALLED else words[t] for t in context if t != PAD)
      line = Text('  ' if turn == 0 else '    ').append(' '.join(told), 'dim').append(' ... ')
      for option, paid in zip(drawn.options[i, turn], drawn.paid[i, turn], strict=True):
        line.append(f' {words[option]} earns {paid:g}', 'green' if paid else 'red')
      console.print(line, soft_wrap=True)


def tokens_as_text(
  world: World,
  tokens: np.ndarray,
  roles: np.ndarray,
  everything: bool = False,
  coloured: bool = True,
) -> Text:
  """One example, coloured by role; tokens that bear loss are underlined, without colours «so»."""
  words = vocabulary(world.config).words
  bears = (roles != Role.CONTEXT) | everything
  bears[0] = False  # nothing predicts the first token
  line = Text()
  for i, (token, role) in enumerate(zip(tokens, roles, strict=True)):
    style = _STYLES[Role(role)] + (' underline' if bears[i] else '')
    word = words[token]
    if not coloured and bears[i]:
      word = word if bears[i - 1] else '«' + word
      word = word if i + 1 < len(tokens) and bears[i + 1] else word + '»'
    line.append(word, style).append(' ')
  return line


def _legend(coloured: bool) -> Text:
  if not coloured:
    return Text('«bears loss»')
  line = Text('prompt', _STYLES[Role.CONTEXT])
  for role in (Role.DOCUMENT, Role.REASON, Role.ACTION):
    line.append('  ').append(role.name.lower(), _STYLES[role] + ' underline')
  return line.append('  (underlined = bears loss)')


def _heading(console: Console, title: str, about: str) -> None:
  console.print()
  console.print(Text(title, 'bold').append(f'  {about}', 'not bold'))


def _inhabitants(world: World) -> str:
  counts = np.bincount(world.kinds[1:], minlength=len(Kind))
  kinds = ', '.join(
    f'{n} {kind.name.lower().replace("_", " ")}' for kind, n in zip(Kind, counts, strict=True)
  )
  v = vocabulary(world.config)
  order = ' > '.join(v.decode([v.values[value]]) for value in world.constitution.argsort())
  return f'{kinds}; {len(v.words)} words; constitution of {v.words[v.agents[0]]}: {order}'


def _size(texts: Texts) -> str:
  return f'{len(texts)} examples, {int(arms.bears_loss(texts).sum())} loss-bearing tokens'


def _varied(texts: Texts) -> Sequence[int]:
  """Examples that start differently: facts, charters, stories, dialogues."""
  starts = [texts.tokens[start] for start in texts.starts[:80]]
  return sorted(np.unique(starts, return_index=True)[1].tolist())[: 3 * _SHOWN]


def _ends(texts: Texts, ingredients: int) -> Sequence[int]:
  """The first examples, and where an arm has two ingredients the last ones too."""
  return [*range(_SHOWN)] + [*range(len(texts) - _SHOWN, len(texts))] * (ingredients > 1)


def _examples(
  console: Console, world: World, texts: Texts, which: Sequence[int], everything: bool = False
) -> None:
  for i in which:
    console.print(
      Text('  ')
      + tokens_as_text(
        world, *texts.example(i), everything=everything, coloured=console.is_terminal
      ),
      soft_wrap=True,
    )
