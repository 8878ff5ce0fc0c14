"""What speeds are compared with has the same shape as what is compared."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks import learning_rates, means, scale, speed
from benchmarks.rivals import plain_flax, turns
from benchmarks.rivals.shape import Shape
from benchmarks.timing import by_turns
from whyjax import command_line
from whyjax.config import ModelConfig
from whyjax.model import sizes
from whyjax.study import graph

VOCABULARY = 300


def _shape(size: str) -> Shape:
  names = ('width', 'layers', 'heads', 'kv_heads', 'head_dim', 'mlp_width')
  fields = {name: sizes.size(size)[name] for name in names}
  return Shape(**fields, vocabulary=VOCABULARY, rows=2, row_length=24, updates=1)


@pytest.mark.parametrize('size', ['10k', '3m', '1b'])  # the last shares keys and values
def test_the_plain_decoder_has_as_many_parameters_as_ours(size):
  tokens = jax.ShapeDtypeStruct((2, 24), jnp.int32)
  decoder = plain_flax.Decoder(_shape(size))
  params = jax.eval_shape(decoder.init, jax.random.key(0), tokens)
  count = sum(x.size for x in jax.tree.leaves(params))
  assert count == sizes.parameter_count(ModelConfig(**sizes.size(size)), VOCABULARY)


def test_shapes_survive_a_command_line():
  shape = _shape('10k')
  assert Shape.loads(shape.dumps()) == shape
  assert shape.tokens == 48


def test_a_rival_takes_its_turns_shape_by_shape():
  with turns.Process('benchmarks.rivals.plain_flax') as process:
    for size in ('10k', '30k'):
      process.prepare(_shape(size).dumps())
      process.wait()
      process()
      process()


def test_a_rival_that_is_not_there_says_why():
  nobody = turns.Process('benchmarks.rivals.of_nobody')
  with pytest.raises(RuntimeError, match='No module named'), nobody:
    nobody.prepare('')
    nobody.wait()


@pytest.mark.parametrize('name', means.VARIANTS)
def test_a_means_of_speed_changes_what_it_names_and_learns_from_as_many_tokens(name, monkeypatch):
  asked = []
  monkeypatch.setattr(means.meshes, 'start_backend', lambda device: None)
  monkeypatch.setattr(means, 'Training', lambda *shape: asked.append(shape))
  study = command_line.parse(['whyjax', '--config=configs/principles.py']).study
  arrived = means.Variant(**json.loads(json.dumps(dataclasses.asdict(means.VARIANTS[name]))))
  for variant in (means.VARIANTS[means.SHIPPED], arrived):
    means.training(study, '100k', variant)
  (_, stage, device, *_, updates), changed = asked[0], asked[1]
  tokens = stage.batch_rows * study.row_length * updates
  assert changed[1].batch_rows * changed[4] * changed[6] == tokens
  others = (changed[2] != device, changed[4] != study.row_length, bool(arrived.environment))
  assert sum(others) == (name != means.SHIPPED)


def test_in_every_round_each_works_once_and_follows_others_than_before():
  done = []
  works = {name: (lambda name=name: done.append(name)) for name in 'abcde'}
  seconds = by_turns(works, 6)
  assert {name: len(own) for name, own in seconds.items()} == dict.fromkeys('abcde', 6)
  rounds = [tuple(done[at : at + 5]) for at in range(0, len(done), 5)]
  assert all(sorted(r) == list('abcde') for r in rounds)
  assert len(rounds) == 7
  for name in works:  # nobody always follows the same one
    before = [done[at - 1] for at, other in enumerate(done) if other == name and at]
    assert len(set(before)) > 1


def test_presets_that_fit_in_memory_are_timed(monkeypatch):
  memory = {'SC_PAGE_SIZE': 1, 'SC_PHYS_PAGES': 4 * 10**9}
  monkeypatch.setattr(speed.os, 'sysconf', memory.get)
  assert speed._fitting() == [*itertools.takewhile(lambda s: s != '300m', sizes.SIZES)]


@pytest.mark.parametrize('size', scale.SIZES)
@pytest.mark.parametrize('target', scale.TARGETS)
def test_what_is_compiled_for_slices_is_a_study(size, target):
  study = command_line.parse(['whyjax', *scale.arguments(size, target)]).study
  assert graph.stages(study)


@pytest.mark.parametrize('kind', learning_rates.BASE_WIDTH)
def test_learning_rates_are_tried_at_all_widths(kind, tmp_path):
  words = learning_rates.arguments(learning_rates.RATES[0], kind, tmp_path)
  stages = graph.stages(command_line.parse(['whyjax', *words]).study)
  widths = [sizes.size(size)['width'] for size in learning_rates.SIZES]
  assert [stage.study.model.width for stage in stages] == widths
  assert {stage.study.model.base_width for stage in stages} == {learning_rates.BASE_WIDTH[kind]}
