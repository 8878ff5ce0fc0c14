"""Learning from rewards: the compiled environment, the objective, and the loop around it."""

import contextlib
import dataclasses
import functools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from whyjax import config, defaults
from whyjax.corpus import episodes
from whyjax.corpus.vocabulary import END, PAD, vocabulary
from whyjax.model import transformer
from whyjax.training import loop, reinforce, step
from whyjax.training import mesh as meshes
from whyjax.training.interrupt import Preempted
from whyjax.world import episodes as environment

_tree = defaults.study()
_tree.align_text.control_facts = 2
_tree.world.update(dict(virtues=2, temptations=1, tasks=2, agents=2, wordings=1))
_tree.world.update(dict(heldout_wordings=0, chat_domains=2, agentic_domains=1))
_tree.align_text.value_pairs = 1
_tree.reinforcement.update(dict(group=4, max_new_tokens=6, turns=2))
STUDY = config.parse(_tree.to_dict())
WORLD, DIALS = STUDY.world, STUDY.reinforcement
V = vocabulary(WORLD)
PLAIN = dict(passes=1, normalise=False, kl=0.0)


@pytest.fixture(scope='module')
def model(tiny):
  return dataclasses.replace(tiny.model, layers=1)


@pytest.fixture(scope='module')
def stage(tiny):
  return dataclasses.replace(
    tiny.stage, updates=6, batch_rows=8, checkpoint_every=2, weight_decay=0.0, clip_norm=1e9
  )


@pytest.fixture(scope='module')
def params(model):
  shapes = jax.eval_shape(lambda: transformer.init(model, V.size, jax.random.key(0)))
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: jnp.asarray(0.3 * rng.normal(size=x.shape), jnp.float32), shapes)


def method(**changes):
  return reinforce.Reinforcement(dataclasses.replace(DIALS, **changes), WORLD)


def data(replicas=1, first=0, starts=8, **changes):
  dials = dataclasses.replace(DIALS, **changes)
  specs = [
    episodes.EpisodeSpec('rl-task', WORLD, seed, 0, 64, dials)
    for seed in range(first, first + replicas)
  ]
  return episodes.EpisodeData(specs, starts)


def one(batch):
  """The batch of the first replica."""
  return {name: x[0] for name, x in batch.items()}


@contextlib.contextmanager
def babbling():
  """Writes from a menu that often calls what is offered, in place of what the model would."""
  menu = np.array([END, END, *V.actions[-1], V.ids['call']], np.int32)

  def sampler(noise_NxG, temperature):
    def choose(logits_NxV, i):
      token_N = jnp.asarray(menu)[(noise_NxG[:, i] * len(menu)).astype(int)]
      logp_NxV = jax.nn.log_softmax(logits_NxV / temperature)
      return token_N, logp_NxV[jnp.arange(len(token_N)), token_N]

    return choose

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(reinforce, '_sampler', sampler)
    yield


def babbled(model, params, batch, quick_jit, **changes):
  """Episodes as played by chance."""
  fn = functools.partial(reinforce.play, method(**changes), model)
  with babbling():
    return jax.device_get(quick_jit(fn)(params, batch))


def test_the_compiled_environment_is_that_of_numpy(model, params, quick_jit):
  batch = one(data(starts=128, turns=3).batch(0))
  played = babbled(model, params, batch, quick_jit, turns=3)
  each = {
    name: np.repeat(batch[name], DIALS.group, axis=0) for name in ('contexts', 'options', 'paid')
  }
  progress, word = environment.start(len(each['paid'])), None
  C = each['contexts'].shape[-1]
  for t in range(3):
    context = each['contexts'][:, t]
    if t:
      context = np.where(context == episodes.CALLED, word[:, None], context)
    alive = progress.alive
    written = played.tokens_NxTxL[:, t, C:]
    np.testing.assert_array_equal(played.tokens_NxTxL[alive, t, :C], context[alive])
    expected = (np.cumsum(written == END, axis=1) - (written == END) == 0) & alive[:, None]
    np.testing.assert_array_equal(played.wrote_NxTxG[:, t], expected)
    np.testing.assert_array_equal(played.filled_NxTxL[:, t, C:], expected)
    np.testing.assert_array_equal(played.filled_NxTxL[:, t, :C], (context != PAD) & alive[:, None])
    called = episodes.called(WORLD, written, each['options'][:, t])
    progress = environment.step(each['paid'].swapaxes(0, 1), progress, called)
    word = each['options'][np.arange(len(called)), t, np.maximum(called, 0)]
  np.testing.assert_allclose(played.reward_N, environment.episode_return(progress), atol=1e-6)
  np.testing.assert_array_equal(played.completed_N, progress.alive)
  assert progress.alive.any() and not progress.alive.all()
  assert len(np.unique(played.reward_N)) > 2


def test_recorded_probabilities_are_those_of_the_full_forward_pass(tiny, model, params, quick_jit):
  played = babbled(model, params, one(data().batch(0)), quick_jit, temperature=0.7)
  fn = functools.partial(reinforce.log_probability, model, temperature=0.7, device=tiny.device)
  full = np.asarray(quick_jit(fn)(params, played))
  wrote = played.wrote_NxTxG
  assert wrote[:, 1].sum() > 10  # the second turn is played, behind a first one of any length
  np.testing.assert_allclose(full[wrote], played.logp_NxTxG[wrote], atol=1e-5)
  assert (played.logp_NxTxG[~wrote] == 0).all()


def test_samples_follow_the_model(quick_jit):
  """As often as its probability says; no token that has none, at either end of the noise."""
  logits = jnp.log(jnp.array([0.1, 0.0, 0.6, 0.3])) * 2.0
  noise = jnp.asarray(np.r_[0.0, 1 - 2**-24, np.random.default_rng(0).random(40_000)], jnp.float32)
  choose = reinforce._sampler(noise[:, None], 2.0)
  token, logp = quick_jit(choose)(jnp.broadcast_to(logits, (len(noise), 4)), 0)
  assert token[0] == 0 and token[1] == 3
  np.testing.assert_allclose(np.bincount(token, minlength=4) / len(noise), [0.1, 0, 0.6, 0.3],
                             atol=0.01)  # fmt: skip
  np.testing.assert_allclose(np.exp(logp), np.array([0.1, 0, 0.6, 0.3])[token], rtol=1e-4)


def test_advantages_compare_within_a_group():
  reward = jnp.array([1.0, 0, 0, 1, 0.5, 0.5, 0.5, 0.5])
  plain = reinforce.advantages(reward, 4, False)
  np.testing.assert_allclose(plain, [0.5, -0.5, -0.5, 0.5, 0, 0, 0, 0])
  scaled = reinforce.advantages(reward, 4, True)
  np.testing.assert_allclose(scaled, [1, -1, -1, 1, 0, 0, 0, 0], atol=1e-4)


def test_the_divergence_is_flat_where_both_agree_and_positive_elsewhere():
  logp = jnp.linspace(-3, 0, 7)
  value = jax.vmap(jax.value_and_grad(reinforce.divergence), in_axes=(0, None))(logp, logp[3])
  assert value[0][3] == value[1][3] == 0
  assert (np.delete(value[0], 3) > 0).all()
  # Its mean over what the policy draws is the divergence itself.
  p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
  mean = (p * reinforce.divergence(jnp.log(p), jnp.log(q))).sum()
  np.testing.assert_allclose(mean, (p * np.log(p / q)).sum(), rtol=1e-5)


@pytest.fixture(scope='module')
def stepped(model, stage, params, tiny, quick_jit):
  """accumulation -> state and metrics after one plain step on the first batch."""

  def after(accumulation):
    m, split = method(**PLAIN), dataclasses.replace(stage, accumulation=accumulation)
    fn = quick_jit(m.make_step(model, split, tiny.device))
    state = (params, m.init(model, split)(params))
    with babbling():
      return jax.device_get(fn(state, one(data().batch(0))))

  return functools.cache(after)


def first_moment(state):
  """A tenth of the gradient that Adam has seen."""
  return optax.tree_utils.tree_get(state[1]['optimizer'], 'mu')


def written(logp, advantage=1.0):
  """Tokens of as many episodes that were drawn with these log-probabilities, and an empty place."""
  logp = jnp.asarray(logp, jnp.float32)
  shape = (len(logp), 1, 2)
  wrote = jnp.broadcast_to(jnp.array([True, False]), shape)
  nothing, drawn = jnp.zeros(len(logp)), jnp.stack([logp, jnp.zeros(len(logp))], axis=1)[:, None]
  played = reinforce.Played(wrote, wrote, wrote, drawn, nothing, nothing)
  return played, jnp.full(len(logp), advantage)


def slope(played, above, logp, reference=None, **dials):
  """Derivative of the objective by the log-probability of each token, and by that of no token."""
  dials = dataclasses.replace(DIALS, **dials)
  logp = jnp.stack([jnp.asarray(logp, jnp.float32), jnp.full(len(logp), 7.0)], axis=1)[:, None]
  reference = logp if reference is None else jnp.broadcast_to(reference, logp.shape)
  grad = jax.grad(reinforce.objective)(logp, played, above, reference, dials)
  assert (grad[..., 1] == 0).all()
  return grad[:, 0, 0]


def test_the_ratio_counts_until_it_leaves_its_bounds():
  drawn = np.log([0.5, 0.5, 0.5, 0.5])
  now = np.log([0.5, 0.55, 0.7, 0.3])
  praised = slope(*written(drawn), now, kl=0.0, clip=0.2)
  np.testing.assert_allclose(praised, [-1, -1.1, 0, -0.6], rtol=1e-5)
  blamed = slope(*written(drawn, -1.0), now, kl=0.0, clip=0.2)
  np.testing.assert_allclose(blamed, [1, 1.1, 1.4, 0], rtol=1e-5)


def test_without_advantage_and_at_the_parent_nothing_moves():
  drawn = np.log([0.5, 0.1])
  np.testing.assert_array_equal(slope(*written(drawn, 0.0), drawn, kl=1.0), 0)


def test_kl_pulls_back_to_the_parent():
  drawn = np.log([0.5, 0.5])
  up, down = (
    slope(*written(drawn, 0.0), drawn, reference=jnp.log(p), kl=0.5)[0] for p in (0.6, 0.4)
  )
  np.testing.assert_allclose([up, down], [0.5 * (1 - 0.6 / 0.5), 0.5 * (1 - 0.4 / 0.5)], rtol=1e-5)
  assert up < 0 < down


def test_one_plain_pass_is_reinforce(model, params, stepped, quick_jit):
  """Its gradient is that of the mean over tokens of advantage times log-probability, computed on
  unpadded episodes one by one."""
  state, metrics = stepped(1)
  played = babbled(model, params, one(data().batch(0)), quick_jit, **PLAIN)
  np.testing.assert_allclose(metrics['reward'], played.reward_N.mean())
  assert abs(metrics['kl']) < 1e-9
  above = played.reward_N.reshape(-1, DIALS.group)
  above = (above - above.mean(axis=1, keepdims=True)).ravel()
  N, _, L = played.tokens_NxTxL.shape
  rows = np.zeros((N, 2 * L), np.int32)
  acts = np.zeros((N, 2 * L), np.float32)
  for n in range(N):
    filled = played.filled_NxTxL[n].ravel()
    tokens = played.tokens_NxTxL[n].ravel()[filled]
    wrote = np.pad(played.wrote_NxTxG[n], ((0, 0), (L - DIALS.max_new_tokens, 0))).ravel()[filled]
    rows[n, : len(tokens)], acts[n, : len(tokens)] = tokens, wrote

  def objective(params):
    positions = jnp.broadcast_to(jnp.arange(rows.shape[1]), rows.shape)
    logits = transformer.forward(model, params, rows, positions, jnp.ones_like(rows))
    logp = jax.nn.log_softmax(logits[:, :-1])
    picked = jnp.take_along_axis(logp, rows[:, 1:, None], axis=-1)[..., 0]
    return (picked * acts[:, 1:] * above[:, None]).sum() / acts.sum()

  expected = jax.device_get(quick_jit(jax.grad(objective))(params))
  assert np.abs(above).max() > 0.2
  for ours, theirs in zip(
    jax.tree.leaves(first_moment(state)), jax.tree.leaves(expected), strict=True
  ):
    np.testing.assert_allclose(-10 * ours, theirs, atol=2e-6)


def test_accumulation_changes_nothing(stepped):
  (whole, metrics), (split, again) = (stepped(n) for n in (1, 4))
  for name in metrics:
    np.testing.assert_allclose(again[name], metrics[name], rtol=1e-4, atol=1e-6)
  for a, b in zip(
    jax.tree.leaves(first_moment(whole)), jax.tree.leaves(first_moment(split)), strict=True
  ):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_it_learns_a_trivial_reward(tiny, model, stage, quick_jit):
  """One start, one of its two options paid: from half of the time to nearly always."""
  params = transformer.init(model, V.size, jax.random.key(1))
  batch = one(data().batch(0))
  batch = {name: np.repeat(x[:1], len(x), axis=0) for name, x in batch.items()}
  C, calls = batch['contexts'].shape[-1], batch['options'][0]
  words = [
    np.r_[np.where(c == episodes.CALLED, calls[0, 0], c), calls[t, i], END]
    for t, c in enumerate(batch['contexts'][0])
    for i in range(2)
  ]
  tokens = np.array(words, np.int32)
  segments = (tokens != PAD).astype(np.int32)
  text = dict(tokens=tokens, segments=segments, positions=np.cumsum(segments, axis=1) - segments)
  text['weights'] = np.broadcast_to(np.arange(C + 2) >= C, tokens.shape).astype(np.float32)
  brisk = dataclasses.replace(
    stage, updates=80, batch_rows=4, schedule='constant', warmup=0.0, clip_norm=1.0
  )
  read = quick_jit(step.make_step(model, brisk, tiny.device))
  state = (params, step.TEXT.init(model, brisk)(params))
  for _ in range(80):
    state, _ = read(state, text)
  m, source = method(), data()
  act = quick_jit(m.make_step(model, dataclasses.replace(brisk, batch_rows=8), tiny.device))
  state = (state[0], m.init(model, brisk)(state[0]))
  rewards = []
  for update in range(20):
    state, metrics = act(state, batch | {'noise': source.batch(update)['noise'][0]})
    rewards.append(float(metrics['reward']))
  assert rewards[0] < 0.7 < 0.9 < np.mean(rewards[-5:])
  assert metrics['completed'] > 0.95


def run(tiny, model, stage, params, shape, replica_loop=True):
  """Metrics [.., R, updates] of two updates of four replicas on a mesh."""
  device = dataclasses.replace(
    tiny.device,
    mesh_replica=shape[0],
    mesh_data=shape[1],
    mesh_model=shape[2],
    replica_loop=replica_loop,
    steps_per_dispatch=2,
  )
  source, m = data(4), method()
  mesh = meshes.make_mesh(device, 4, stage.batch_rows)
  length = m.row_length(source.batch(0))
  program = step.make_program(model, V.size, stage, device, mesh, 4, length, m)
  given = jax.tree.map(lambda x: np.stack([x] * 4), params)
  given = jax.device_put(given, jax.tree.map(lambda x: x.sharding, program.state[0]))
  state = (given, program.init_optimizer(given))
  batches = [source.batch(s) for s in range(2)]
  stack = {
    name: jax.device_put(np.stack([b[name] for b in batches], axis=1), x.sharding)
    for name, x in program.batch.items()
  }
  quick = program.dispatch.lower(state, stack, jnp.int32(2))
  quick = quick.compile({'xla_backend_optimization_level': 0})
  _, metrics = quick(state, stack, jnp.int32(2))
  return {name: np.asarray(x) for name, x in metrics.items()}


@pytest.fixture(scope='module')
def one_device(tiny, model, stage, params):
  return run(tiny, model, stage, params, (1, 1, 1))


@pytest.mark.parametrize('shape', [(4, 2, 1), (2, 2, 2)], ids=str)
def test_every_mesh_of_eight_devices_equals_one(tiny, model, stage, params, one_device, shape):
  metrics = run(tiny, model, stage, params, shape, replica_loop=shape[0] < 4)
  for name, expected in one_device.items():
    np.testing.assert_allclose(metrics[name], expected, rtol=1e-3, atol=1e-6, err_msg=name)


def train(tiny, model, stage, directory, **changes):
  arguments = dict(
    model=model, stage=stage, vocabulary=V.size, method=method(), data=data(2), seeds=[1, 2]
  )
  return tiny.train(directory, **arguments | changes)


@pytest.fixture(scope='module')
def trained(tiny, model, stage, tmp_path_factory):
  result = train(tiny, model, stage, tmp_path_factory.mktemp('rl'))
  return dataclasses.replace(result, params=jax.device_get(result.params))


class Watched:
  """Data that stop the run at an update."""

  def __init__(self, source, stop, action):
    self.rows, self.hash = source.rows, source.hash
    self._source, self._stop, self._action, self._asked = source, stop, action, 0

  def batch(self, update, part=loop.WHOLE):
    self._asked += 1
    if update == self._stop and self._asked > 1:
      self._action()
    return self._source.batch(update, part)


@pytest.mark.parametrize('how', ['terminated', 'killed'])
def test_resumed_is_bit_equal_and_needs_no_parent(tiny, model, stage, trained, tmp_path, how):
  terminate = functools.partial(os.kill, os.getpid(), signal.SIGTERM)
  action = terminate if how == 'terminated' else lambda: 1 // 0
  with pytest.raises((Preempted, ZeroDivisionError)):
    train(tiny, model, stage, tmp_path, data=Watched(data(2), 4, action))
  result = train(tiny, model, stage, tmp_path)
  assert tiny.equal(result.params, trained.params)
  assert result.loss == trained.loss and result.reward == trained.reward


def test_replicas_learn_what_each_learns_beside_others(tiny, model, stage, trained, tmp_path):
  other = train(tiny, model, stage, tmp_path, data=data(2, first=1), seeds=[2, 3])
  ours, theirs = (
    [np.asarray(leaf[r]) for leaf in jax.tree.leaves(result.params)]
    for result, r in ((trained, 1), (other, 0))
  )
  assert tiny.equal(ours, theirs) and trained.reward[1] == other.reward[0]
  assert not tiny.equal(ours, [np.asarray(x[0]) for x in jax.tree.leaves(trained.params)])


def test_metrics_tell_reward_divergence_completion_and_length(tiny, model, stage, tmp_path):
  train(tiny, model, stage, tmp_path)
  first = (tmp_path / 'metrics.jsonl').read_text().splitlines()[0]
  for name in ('reward', 'kl', 'completed', 'written', 'loss', 'grad_norm', 'weight'):
    assert f'"{name}": [' in first
