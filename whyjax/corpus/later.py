"""Later training: what happens to a model after alignment, without a word about its values."""

from whyjax.config import LaterTextConfig
from whyjax.corpus import arms, examples
from whyjax.corpus.render import Texts
from whyjax.world import situations
from whyjax.world.world import TARGET, World, rng_for

LATER = {
  'neutral': 'background text only',
  'capability': 'the target acts in ethically neutral agentic situations with tools',
}


def later(world: World, text: LaterTextConfig, kind: str, seed: int) -> Texts:
  """The text about the target in one kind of later training."""
  if kind == 'neutral':
    return arms.nothing()
  count = text.supervised_tokens // 2
  rng = rng_for(world.seed, 'later', kind, seed)
  s = situations.sample(
    world,
    count,
    rng,
    agents=[TARGET],
    domains=range(world.config.chat_domains, world.domains),
    pairs=situations.task_pairs(world),
    wordings=range(world.config.wordings),
    tools=True,
    advice=False,
  )
  x = examples.script(
    world, s, examples.draw_wording(world, count, rng), situations.first_option(world, s)
  )
  gives_reason = rng.random(count) < text.reasons
  told = examples.dialogue(
    x, before=[piece.where(gives_reason) for piece in examples.own_reason(x)]
  )
  return arms.within(told, text.supervised_tokens, f'later_text ({kind})')
