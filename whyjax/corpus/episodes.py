"""Episodes as tokens: what the agent reads before each turn, what is offered, what it earns.

The agent's own words are written during training; the environment's are data, with a placeholder
for the action that was called.
"""

from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import itertools
import json

import numpy as np

from whyjax.config import ReinforcementConfig, StudyConfig, WorldConfig, as_dict
from whyjax.corpus import examples
from whyjax.corpus.later import reward_of
from whyjax.corpus.packing import WHOLE, Part
from whyjax.corpus.render import Piece, join
from whyjax.corpus.templates import TEXT_VERSION
from whyjax.corpus.vocabulary import END, PAD, vocabulary
from whyjax.world import episodes
from whyjax.world.world import World, build_world, rng_for

CALLED = -1  # in a context: the action word of the call before it


@dataclasses.dataclass(frozen=True)
class EpisodeSpec:
  """Everything that determines the episodes of one replica, and nothing else.

  Attributes:
    kind: of later training, such as 'rl-task'.
    seed: of the episodes and of all random choices in them.
    starts: how many episodes there are, each once; every start is played `group` times.
  """

  kind: str
  world: WorldConfig
  world_seed: int
  seed: int
  starts: int
  reinforcement: ReinforcementConfig

  @property
  def identity(self) -> str:
    """SHA-256 of the spec and the version of the text; known before anything is generated."""
    canonical = json.dumps([TEXT_VERSION, as_dict(self)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def spec(study: StudyConfig, kind: str, world_seed: int, seed: int) -> EpisodeSpec:
  """The episodes of one kind of later training; they do not depend on the arm that came before."""
  stage = study.reinforcement_training
  starts = stage.updates * stage.batch_rows
  return EpisodeSpec(kind, study.world, world_seed, seed, starts, study.reinforcement)


@dataclasses.dataclass(frozen=True)
class Episodes:
  """N episodes of T turns.

  Attributes:
    contexts: [N, T, C] what is read before each turn, padded on the left; CALLED stands for the
      action word that the turn before called.
    options: [N, T, 2] ids of the action words offered.
    paid: [N, T, 2] the reward of each.
  """

  contexts: np.ndarray
  options: np.ndarray
  paid: np.ndarray


def generate(spec: EpisodeSpec) -> Episodes:
  """The episodes of a spec; equal specs give equal ones. No evaluation shares their details."""
  world = build_world(spec.world, spec.world_seed)
  rng = rng_for(spec.world_seed, 'episodes', spec.kind, spec.seed)
  reward, dials = reward_of(spec.kind), spec.reinforcement
  asked = episodes.situations_of(reward) if dials.situations == 'own' else dials.situations
  turns = episodes.sample(world, spec.starts, dials.turns, asked, rng)
  scripts = [_script(world, s, rng) for s in turns]
  contexts = [_left_padded(examples.prompt(scripts[0]))]
  for previous, x in itertools.pairwise(scripts):
    one, other = (
      _left_padded(examples.follow_up(_choosing(previous, option), x)) for option in range(2)
    )
    contexts.append(np.where(one == other, one, CALLED))
  width = max(c.shape[1] for c in contexts)
  return Episodes(
    contexts=np.stack([_widened(c, width) for c in contexts], axis=1).astype(np.int32),
    options=np.stack([x.options() for x in scripts], axis=1).astype(np.int32),
    paid=np.stack([episodes.rewards(world, s, reward) for s in turns], axis=1),
  )


@functools.lru_cache(maxsize=64)
def context_length(spec: EpisodeSpec) -> int:
  """Places of a context, padding included."""
  return generate(spec).contexts.shape[-1]


def _script(world: World, s, rng: np.random.Generator) -> examples.Script:
  """Situations in words; what is chosen does not show in what is read before it is."""
  return examples.script(
    world, s, examples.draw_wording(world, len(s), rng), np.zeros(len(s), np.int64)
  )


def _choosing(x: examples.Script, option: int) -> examples.Script:
  return dataclasses.replace(x, chosen=np.full(len(x.chosen), option))


def _widened(contexts: np.ndarray, width: int) -> np.ndarray:
  """[..., C] contexts with `width` places."""
  more = [(0, 0)] * (contexts.ndim - 1) + [(width - contexts.shape[-1], 0)]
  return np.pad(contexts, more, constant_values=PAD)


def _left_padded(pieces: Sequence[Piece]) -> np.ndarray:
  """[N, C] tokens of all pieces; C has room for the longest form of each."""
  width = sum(int(piece.mask.sum(axis=1).max()) for piece in pieces)
  texts = join(pieces)
  inside = np.arange(width) >= width - texts.lengths[:, None]
  tokens = np.full(inside.shape, PAD, np.int32)
  tokens[inside] = texts.tokens
  return tokens


def called(world: WorldConfig, written: np.ndarray, options: np.ndarray) -> np.ndarray:
  """[N], which of two `options` [N, 2] the turn `written` [N, G] calls, or episodes.NO_CALL.

  What is called is the first action word before the end of the turn; a turn without an end calls
  nothing.
  """
  ended = np.cumsum(written == END, axis=1) > 0
  is_action = np.isin(written, vocabulary(world).actions) & ~ended
  word = np.take_along_axis(written, is_action.argmax(axis=1)[:, None], axis=1)
  hit = (word == options) & is_action.any(axis=1)[:, None] & ended[:, -1:]
  return np.where(hit.any(axis=1), hit.argmax(axis=1), episodes.NO_CALL)


class EpisodeData:
  """Batches of R replicas: starts of episodes, and the noise that decides what is sampled in them.

  A batch is a pure function of (seed, step), as that of a corpus is.

  Attributes:
    rows: starts of each replica.
    hash: content hash of each replica's episodes.
  """

  def __init__(self, specs: Sequence[EpisodeSpec], starts: int):
    """`starts` of each replica make a batch."""
    self._specs, self._starts = specs, starts
    drawn = [generate(spec) for spec in specs]
    width = max(e.contexts.shape[-1] for e in drawn)
    self._episodes = [dataclasses.replace(e, contexts=_widened(e.contexts, width)) for e in drawn]
    self.rows = [spec.starts for spec in specs]
    self.hash = [_hash(spec, e) for spec, e in zip(specs, self._episodes, strict=True)]

  def batch(self, step: int, part: Part = WHOLE) -> dict[str, np.ndarray]:
    """The batch of a step; `part` says which replicas and starts of it are wanted.

    contexts [R, B, T, C], options and paid [R, B, T, 2]: see Episodes; noise [R, B, group, T, G]:
    uniform in [0, 1), one number for each token that may be written.
    """
    replicas, starts = part
    places = np.arange(self._starts)[starts]
    batches = []
    for spec, e in zip(self._specs[replicas], self._episodes[replicas], strict=True):
      rows = (step * self._starts + places) % spec.starts
      dials = spec.reinforcement
      shape = (self._starts, dials.group, dials.turns, dials.max_new_tokens)
      rng = rng_for(spec.world_seed, 'noise', spec.kind, spec.seed, step)
      batches.append(
        dict(
          contexts=e.contexts[rows],
          options=e.options[rows],
          paid=e.paid[rows],
          noise=rng.random(shape, np.float32)[starts],
        )
      )
    return {name: np.stack([b[name] for b in batches]) for name in batches[0]}


def _hash(spec: EpisodeSpec, e: Episodes) -> str:
  """SHA-256 of the episodes and of what decides the noise."""
  digest = hashlib.sha256(spec.identity.encode())
  for array in (e.contexts, e.options, e.paid):
    digest.update(np.ascontiguousarray(array))
  return digest.hexdigest()
