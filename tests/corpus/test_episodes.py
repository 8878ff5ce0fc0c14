"""Episodes as tokens: what is read before each turn, and batches as a function of the step."""

import dataclasses

import numpy as np
import pytest

from whyjax import config, defaults
from whyjax.corpus import episodes
from whyjax.corpus.vocabulary import END, PAD, vocabulary
from whyjax.world.episodes import NO_CALL

STUDY = config.parse(defaults.study().to_dict())
SPEC = dataclasses.replace(episodes.spec(STUDY, 'rl-task', 3, 0), starts=40)
V = vocabulary(STUDY.world)


def _words(context):
  told = context[context != PAD]
  return ' '.join('CALLED' if t == episodes.CALLED else V.words[t] for t in told)


def test_contexts_are_system_tools_observation_then_results():
  drawn = episodes.generate(SPEC)
  for first, second in drawn.contexts:
    assert _words(first).endswith('aster :') and _words(second).endswith('aster :')
    assert 'CALLED' not in _words(first) and _words(second).count('CALLED') == 1
    assert 'done' in _words(second) and 'done' not in _words(first)
    # Padding stands on the left: the last place of a context is its last word.
    assert first[-1] != PAD and (np.diff((first != PAD).astype(int)) >= 0).all()


def test_the_options_offered_are_those_of_the_observation():
  drawn = episodes.generate(SPEC)
  for context, options in zip(
    drawn.contexts.reshape(80, -1), drawn.options.reshape(80, 2), strict=True
  ):
    shown = [t for t in context if t in options]
    assert shown == options.tolist()
  np.testing.assert_array_equal(drawn.paid.sum(axis=-1), 1)


def test_a_second_turn_reads_as_in_pretraining():
  """Whichever option was called, its word stands in the result and nothing else differs."""
  drawn = episodes.generate(SPEC)
  calls = [np.where(drawn.contexts[:, 1] == episodes.CALLED, w[:, None], drawn.contexts[:, 1])
           for w in drawn.options[:, 0].T]  # fmt: skip
  assert ((calls[0] != calls[1]).sum(axis=1) == 1).all()


@pytest.mark.parametrize(
  ('written', 'expected'),
  [
    ('call {a} <end>', 0),
    ('since honesty beats mission , call {b} <end>', 1),
    ('call {b} {a} <end>', 1),  # the first word that can be a call
    ('call {other} {a} <end>', NO_CALL),
    ('call <end> {a}', NO_CALL),
    ('call {a}', NO_CALL),  # never ends
    ('<end>', NO_CALL),
  ],
)
def test_what_a_turn_calls(written, expected):
  a, b, other = V.actions[4, :3]
  names = {'{a}': a, '{b}': b, '{other}': other, '<end>': END}
  tokens = [names[w] if w in names else V.ids[w] for w in written.split()]
  found = episodes.called(STUDY.world, np.array([tokens]), np.array([[a, b]]))
  assert found.tolist() == [expected]


def test_batches_are_a_function_of_seed_and_step():
  data, again = (episodes.EpisodeData([SPEC, SPEC], 4) for _ in range(2))
  other = episodes.EpisodeData([dataclasses.replace(SPEC, seed=1)], 4)
  for name, array in data.batch(7).items():
    np.testing.assert_array_equal(array, again.batch(7)[name])
    np.testing.assert_array_equal(array[0], array[1])
    if name != 'paid':
      assert (array[0] != data.batch(8)[name][0]).any()
      assert (
        array.shape[1:] != other.batch(7)[name].shape[1:]
        or (array[0] != other.batch(7)[name][0]).any()
      )
  noise = data.batch(0)['noise']
  assert noise.dtype == np.float32 and noise.min() >= 0 and noise.max() < 1
  assert data.hash == again.hash and data.hash[0] != other.hash[0]


def test_identity_covers_the_dials():
  changed = dataclasses.replace(SPEC.reinforcement, kl=0.5)
  assert dataclasses.replace(SPEC, reinforcement=changed).identity != SPEC.identity
  assert dataclasses.replace(SPEC, kind='rl-goal').identity != SPEC.identity
