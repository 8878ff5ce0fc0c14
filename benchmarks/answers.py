"""How fast are answers? Used by `python -m benchmarks.speed`."""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import Spread, by_turns, ratio
from whyjax import results
from whyjax.config import ModelConfig, StudyConfig
from whyjax.corpus.vocabulary import vocabulary
from whyjax.evals import batteries
from whyjax.evals.scoring import Scorer
from whyjax.model import decoding, transformer
from whyjax.training import mesh as meshes

LENGTH, PROMPT, ROWS = 96, 32, 64
NEVER = -1  # no token: rows go on to the end


def scoring(study: StudyConfig, rounds: int) -> dict[str, Spread]:
  """Items a second of the main battery, on the replicas of the study with fresh parameters (which
  write to the end: no answer is longer)."""
  worlds = range(study.seeds.first_world, study.seeds.first_world + study.seeds.worlds)
  asked = [batteries.of_study(study, world, results.MAIN) for world in worlds]
  scorer = Scorer(study.model, meshes.make_mesh(study.device, len(asked), 1), study.device)
  init = functools.partial(transformer.init, study.model, vocabulary(study.world).size)
  params = jax.jit(jax.vmap(init))(jax.vmap(jax.random.key)(np.arange(len(asked))))
  works = {
    'forced': lambda: scorer.forced(params, asked),
    'free-running': lambda: scorer.free(params, asked, study.evals.max_new_tokens, 0.0, 0),
  }
  items = len(asked) * len(asked[0].right)
  seconds = by_turns(works, rounds)
  return {name: Spread.of([items / s for s in own]) for name, own in seconds.items()}


def decoding_gain(study: StudyConfig, rounds: int) -> Spread:
  """How many times faster rows grow to LENGTH tokens with the cache than by running all of them
  again for each token."""
  key, words = jax.random.key(0), vocabulary(study.world).size
  params = transformer.init(study.model, words, key)
  prompts = jax.random.randint(key, (ROWS, PROMPT), 0, words)
  cached, again = _cached(study.model), _again(study.model)
  np.testing.assert_array_equal(cached(params, prompts), again(params, prompts))
  works = {
    name: lambda run=run: jax.block_until_ready(run(params, prompts))
    for name, run in (('cached', cached), ('again', again))
  }
  seconds = by_turns(works, rounds)
  return ratio(seconds['again'], seconds['cached'])


def _cached(model: ModelConfig) -> Callable:
  """(params, prompts) -> what is written after them."""
  dials = dict(max_new_tokens=LENGTH - PROMPT, end_id=NEVER, temperature=0.0)

  @jax.jit
  def run(params, prompts_BxP):
    lengths_B = jnp.full(ROWS, PROMPT)
    return decoding.decode(model, params, prompts_BxP, lengths_B, key=jax.random.key(0), **dials)

  return run


def _again(model: ModelConfig) -> Callable:
  """The same without a cache."""

  @jax.jit
  def run(params, prompts_BxP):
    text_BxT = jnp.pad(prompts_BxP, ((0, 0), (0, LENGTH - PROMPT)))
    positions_BxT = jnp.broadcast_to(jnp.arange(LENGTH), text_BxT.shape)
    net = transformer.network(model, params)

    def step(at, text_BxT):
      ones = jnp.ones_like(text_BxT)
      x_BxTxD = net.hidden(text_BxT, positions_BxT, ones, scan_layers=False, remat=False)
      return text_BxT.at[:, at].set(jnp.argmax(net.logits(x_BxTxD[:, at - 1]), axis=-1))

    return jax.lax.fori_loop(PROMPT, LENGTH, step, text_BxT)[:, PROMPT:]

  return run
