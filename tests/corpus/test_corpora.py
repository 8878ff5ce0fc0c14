"""Corpora on disk: verified, reused, the same everywhere; batches as a function of seed and
step."""

import dataclasses
import hashlib
from pathlib import Path
import shutil
import subprocess
import sys

import numpy as np
import pytest

from whyjax import config, defaults
from whyjax.corpus import arms, corpora, episodes, later, store
from whyjax.corpus.loader import Loader
from whyjax.corpus.vocabulary import END, PAD, vocabulary
from whyjax.errors import UserError
from whyjax.evals import batteries
from whyjax.world.world import build_world


def _study(**changes):
  tree = defaults.study()
  tree.pretrain.updates, tree.align.updates, tree.later_training.updates = 20, 12, 10
  tree.align_text.supervised_tokens = tree.later_text.supervised_tokens = 1500
  tree.align_text.control_tokens = 150
  tree.evals.battery_items = 60
  tree.update_from_flattened_dict(changes)
  return config.parse(tree.to_dict())


STUDY = _study()
GOLDEN = '690c2acf94ba3868'
LATER = ('neutral', 'capability', 'capability-silent', 'conflicting-2', 'conflicting-10')
EVERY = [name for name, arm in arms.ARMS.items() if arm.trains]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return tmp_path_factory.mktemp('corpora')


def _specs(study=STUDY, world=5):
  yield corpora.pretrain_spec(study, world)
  yield from (corpora.align_spec(study, arm, world, 0) for arm in EVERY)
  yield from (corpora.later_spec(study, kind, world, 0) for kind in LATER)


def test_the_text_of_a_version_never_changes():
  """If this fails and no dial of defaults.py has changed, the generator writes other text than
  before: raise TEXT_VERSION. Then renew the hash."""
  digest = hashlib.sha256()
  for spec in _specs():
    rows, _ = corpora.build_rows(spec)
    for plane in (rows.tokens, rows.segments, rows.positions, rows.weights > 0):
      digest.update(np.ascontiguousarray(plane))
  assert (corpora.TEXT_VERSION, digest.hexdigest()[:16]) == ('1.4.0', GOLDEN)


def test_a_corpus_is_written_once_and_found_again(root):
  spec = corpora.pretrain_spec(STUDY, 5)
  first = store.prepare(spec, root)
  files = sorted(p for p in root.rglob('*') if p.is_file())
  times = [p.stat().st_mtime_ns for p in files]
  again = store.prepare(spec, root)
  assert again.hash == first.hash and again.rows == spec.rows
  assert [p.stat().st_mtime_ns for p in files] == times


def test_what_is_read_is_what_was_built(root):
  spec = corpora.align_spec(STUDY, 'reason', 5, 0)
  corpus, (rows, supervised) = store.prepare(spec, root), corpora.build_rows(spec)
  for i in (0, 7, spec.rows - 1):
    record = corpus.source[i]['row']
    np.testing.assert_array_equal(record[0], rows.tokens[i])
    np.testing.assert_array_equal(record[3].view(np.float32), rows.weights[i])
  bare = dataclasses.replace(
    spec, align_text=dataclasses.replace(spec.align_text, control_tokens=0)
  )
  full = (corpora.build_rows(s)[0].weights == 1 for s in (spec, bare))
  with_controls, alone = (int(mask.sum()) for mask in full)
  assert corpus.supervised_tokens == supervised == alone
  assert 0 < with_controls - alone <= spec.align_text.control_tokens


def test_identity_tells_apart_what_differs_and_ignores_what_does_not():
  specs = list(_specs()) + list(_specs(world=6))
  assert len({s.identity for s in specs}) == len(specs)
  relearned = _study(
    **{'align.learning_rate': 1e-4, 'align_text.replay': 0.3, 'evals.battery_items': 99}
  )
  assert corpora.pretrain_spec(relearned, 5).identity == corpora.pretrain_spec(STUDY, 5).identity
  assert (
    corpora.align_spec(relearned, 'reason', 5, 0).identity
    != corpora.align_spec(STUDY, 'reason', 5, 0).identity
  )
  assert (
    corpora.later_spec(STUDY, 'neutral', 5, 0).identity
    == corpora.later_spec(relearned, 'neutral', 5, 0).identity
  )


def test_a_damaged_corpus_is_refused_in_one_line(tmp_path):
  spec = corpora.align_spec(STUDY, 'advice', 5, 0)
  store.prepare(spec, tmp_path)
  (file,) = tmp_path.rglob('*.array_record*')
  content = bytearray(file.read_bytes())
  used = len(content.rstrip(b'\0')) // 2  # the file is padded to a whole block
  content[100:used] = bytes(used - 100)
  file.write_bytes(content)
  with pytest.raises(UserError, match=r'corpus .*delete it to write it again') as caught:
    store.prepare(spec, tmp_path)
  assert '\n' not in str(caught.value)


_KILLED = """
import os, sys
from pathlib import Path
from tests.corpus.test_corpora import STUDY
from whyjax.corpus import corpora, store
store.PackedRows._generate_examples = lambda *_: os._exit(9)
store.prepare(corpora.pretrain_spec(STUDY, 5), Path(sys.argv[1]))
"""


def test_what_a_killed_writer_left_is_taken_away(tmp_path):
  ended = subprocess.run(
    [sys.executable, '-c', _KILLED, str(tmp_path)], cwd=Path(__file__).parents[2], check=False
  )
  assert ended.returncode == 9
  (left,) = tmp_path.rglob('incomplete.*')
  prepared = store.prepare(corpora.pretrain_spec(STUDY, 5), tmp_path)
  assert prepared.rows > 0 and not left.exists()


def test_a_corpus_in_place_of_another_is_refused(tmp_path):
  one, other = (corpora.align_spec(STUDY, arm, 5, 0) for arm in ('advice', 'reason'))
  for spec in (one, other):
    store.prepare(spec, tmp_path)
  a, b = sorted(tmp_path.rglob('*.array_record*'))
  shutil.copy(a, b)
  with pytest.raises(UserError, match='content hash'):
    for spec in (one, other):
      store.prepare(spec, tmp_path)


def test_replayed_background_has_its_share_of_the_weight():
  for replay in (0.25, 0.5, 0.8):
    study = _study(**{'align_text.replay': replay, 'align_text.control_tokens': 0})
    rows, supervised = corpora.build_rows(corpora.align_spec(study, 'demonstrations', 5, 0))
    assert 1 - supervised / rows.weights.sum() == pytest.approx(replay, abs=1e-3)


def test_background_weighs_the_same_in_every_arm_and_at_every_amount_of_text():
  budget = STUDY.align_text.supervised_tokens
  for arm in ('generic', 'demonstrations', 'principles', 'reason'):
    rows, supervised = corpora.build_rows(corpora.align_spec(STUDY, arm, 5, 0))
    controls = arms.supervised(
      arms.controls(build_world(STUDY.world, 5), STUDY.align_text, 0)
    ).sum()
    assert rows.weights.sum() - supervised - controls == pytest.approx(budget, rel=1e-4)


@pytest.mark.parametrize('arm', ['demonstrations', 'shuffled', 'principles-demonstrations'])
def test_a_dose_is_the_start_of_the_text_and_weighs_as_much_a_token(arm):
  """Same examples, fewer; same rows, same weight of all replay, same weight of a token."""
  built = [
    corpora.build_rows(corpora.align_spec(STUDY, arm, 5, 0, dose)) for dose in (1.0, 0.5, 0.125)
  ]
  world = build_world(STUDY.world, 5)
  full = arms.alignment(world, STUDY.align_text, arm, 0)
  controls = int(arms.bears_loss(arms.controls(world, STUDY.align_text, 0)).sum())
  replay = [rows.weights.sum() - supervised - controls for rows, supervised in built]
  for dose, (rows, supervised), weight in zip((1.0, 0.5, 0.125), built, replay, strict=True):
    texts = arms.alignment(world, STUDY.align_text, arm, 0, dose)
    kept = {tuple(texts.example(i)[0].tolist()) for i in range(len(texts))}
    assert kept <= {tuple(full.example(i)[0].tolist()) for i in range(len(full))}
    share = STUDY.align_text.supervised_tokens * dose
    assert share - 40 < supervised <= share and supervised == arms.bears_loss(texts).sum()
    assert rows.tokens.shape == built[0][0].tokens.shape and rows.padding < 0.05
    assert weight == pytest.approx(STUDY.align_text.supervised_tokens, rel=1e-4)  # replay is half
    # Background weighs less than 1 a token here, so that 1 marks alignment.
    assert (rows.weights == 1).sum() == supervised + controls
  if len(arms.ARMS[arm].ingredients) == 1:
    np.testing.assert_array_equal(texts.tokens, full.tokens[: len(texts.tokens)])


def test_doses_have_corpora_of_their_own_and_the_full_one_is_the_arm():
  specs = [corpora.align_spec(STUDY, 'reason', 5, 0, dose) for dose in (1.0, 0.5, 0.25)]
  assert len({spec.identity for spec in specs}) == 3
  assert specs[0] == corpora.align_spec(STUDY, 'reason', 5, 0)


def test_a_dose_without_room_for_an_example_is_refused_by_its_field():
  with pytest.raises(
    UserError,
    match=r'^config\.doses\.shares = 0\.002 or .*_tokens = \d+ \(reason\): comes to 3 tokens',
  ):
    corpora.check_fits(corpora.align_spec(STUDY, 'reason', 5, 0, 0.002))


def test_every_corpus_of_a_stage_has_the_same_shape_and_little_padding():
  for spec in _specs():
    rows, _ = corpora.build_rows(spec)
    assert rows.tokens.shape == (spec.rows, spec.row_length)
    assert rows.padding < 0.05, spec.name


def test_no_evaluated_prompt_occurs_in_any_training_row():
  """A prompt is looked for up to the agent's turn; sentences that state facts are the world's, not
  the situation's."""
  text = dataclasses.replace(STUDY.align_text, value_pairs=4)  # so that some pairs are held out
  built = {
    name: batteries.build(
      STUDY.world, STUDY.pretrain_text, text, name, STUDY.evals.battery_items, 5
    )
    for name in batteries.SITUATIONS
  }
  prompts = {
    tuple(b.free.tokens[i, : b.free.lengths[i]].tolist())
    for b in built.values()
    for i in range(len(b.right))
  }
  turn = vocabulary(STUDY.world).ids[':']
  for spec in _specs():
    rows, _ = corpora.build_rows(spec)
    for tokens, segments in zip(rows.tokens, rows.segments, strict=True):
      for segment in range(1, segments.max() + 1):
        example = tokens[segments == segment].tolist()
        opened = {tuple(example[: i + 1]) for i, token in enumerate(example) if token == turn}
        opened |= {tuple(p[p.index(END) + 1 :]) for p in opened if END in p}  # a second turn's
        assert not opened & prompts
  second = {p[p.index(END) + 1 :] for p in prompts if END in p}
  for kind in later.REINFORCEMENT:
    contexts = episodes.generate(episodes.spec(STUDY, kind, 5, 0)).contexts
    read = {tuple(c[c != PAD].tolist()) for c in contexts.reshape(-1, contexts.shape[-1])}
    assert second and len(read) > 100 and not read & (prompts | second)


def test_batches_are_a_function_of_seed_and_step(root):
  corpus = store.prepare(corpora.pretrain_spec(STUDY, 5), root)
  rows = STUDY.pretrain.batch_rows
  loader, again = (Loader([corpus, corpus], rows, [3, 4]) for _ in range(2))
  for step in (7, 0, 19):
    for name, plane in loader.batch(step).items():
      np.testing.assert_array_equal(plane, again.batch(step)[name])
  batch = loader.batch(0)
  assert batch['tokens'].shape == (2, rows, STUDY.row_length)
  assert batch['weights'].dtype == np.float32
  assert (batch['tokens'][0] != batch['tokens'][1]).any()


def test_a_corpus_too_large_for_memory_gives_the_same_batches(root, monkeypatch):
  spec = corpora.pretrain_spec(STUDY, 5)
  small = store.prepare(spec, root)
  monkeypatch.setattr(store, '_IN_MEMORY', 0)
  large = store.prepare(spec, root)
  assert small.memory is not None and large.memory is None and small.hash == large.hash
  one, other = (Loader([corpus], 8, [3]).batch(2) for corpus in (small, large))
  for name, plane in one.items():
    np.testing.assert_array_equal(plane, other[name])


def test_an_epoch_shows_every_row_once_and_the_next_in_another_order(root):
  corpus = store.prepare(corpora.align_spec(STUDY, 'generic', 5, 0), root)
  rows = STUDY.align.batch_rows
  loader = Loader([corpus], rows, [0])
  epochs = [
    [
      row.tobytes()
      for step in range(12 * e, 12 * (e + 1))
      for row in loader.batch(step)['tokens'][0]
    ]
    for e in (0, 1)
  ]
  assert (
    len(set(epochs[0])) == corpus.rows
    and set(epochs[0]) == set(epochs[1])
    and epochs[0] != epochs[1]
  )


def test_tokens_are_words_and_every_example_ends():
  rows, _ = corpora.build_rows(corpora.pretrain_spec(STUDY, 5))
  assert rows.tokens.max() < len(vocabulary(STUDY.world).words)
  assert ((rows.tokens == PAD) == (rows.segments == 0)).all()
  last = (rows.segments > 0) & (np.roll(rows.segments, -1, axis=1) != rows.segments)
  assert (rows.tokens[last] == END).all()
  assert last.sum() == sum(len(set(r[r > 0])) for r in rows.segments)


def test_a_study_of_another_row_length_packs_too():
  study = dataclasses.replace(STUDY, row_length=96)
  rows, _ = corpora.build_rows(corpora.pretrain_spec(study, 5))
  assert rows.tokens.shape[1] == 96
