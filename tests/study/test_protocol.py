"""Calibrate, freeze, judge: kept apart by code."""

import dataclasses
import errno
import json
import os

import pytest

from whyjax import config, defaults
from whyjax.errors import UserError
from whyjax.study import graph, protocol

STUDY = config.parse(defaults.study().to_dict())
COMMIT = 'a' * 40


def _with(**changes):
  fields = {
    name: dataclasses.replace(getattr(STUDY, name), **value) if isinstance(value, dict) else value
    for name, value in changes.items()
  }
  return dataclasses.replace(STUDY, **fields)


@pytest.fixture
def frozen(tmp_path, monkeypatch):
  """A file of frozen dials of its own, in which those of STUDY are."""
  monkeypatch.setattr(protocol, 'FROZEN', tmp_path / 'frozen.json')
  protocol.FROZEN.write_text('[]')
  protocol.freeze(STUDY, COMMIT)
  return protocol.FROZEN


@pytest.mark.parametrize(('first', 'worlds'), [(996, 4), (1000, 4), (0, 1), (999, 1)])
def test_worlds_of_one_side_are_accepted(first, worlds):
  graph.stages(_with(seeds={'first_world': first, 'worlds': worlds}))


def test_mixing_calibration_and_judging_is_refused():
  with pytest.raises(UserError, match='worlds 997-1000 mix calibration'):
    graph.stages(_with(seeds={'first_world': 997, 'worlds': 4}))


def test_claims_need_more_than_one_world_unless_nothing_is_judged():
  claim = ('reason-over-demonstrations-free',)
  arms = ('demonstrations', 'reason')
  with pytest.raises(UserError, match=r'config\.seeds\.worlds = 1: must be at least 2'):
    graph.stages(_with(claims=claim, arms=arms, seeds={'worlds': 1}))
  graph.stages(_with(claims=claim, arms=arms, seeds={'worlds': 1, 'first_world': 3}))
  graph.stages(_with(claims=(), arms=arms, seeds={'worlds': 1}))


def test_frozen_dials_are_found_whatever_is_asked_and_wherever_it_runs(frozen):
  assert protocol.frozen(STUDY) == COMMIT
  same = _with(
    name='other',
    arms=('generic',),
    seeds={'first_world': 7000},
    device={'host_devices': 1},
    evals={'batteries': ('agentic-tools', 'facts')},
  )
  assert protocol.frozen(same) == COMMIT
  assert protocol.describe(same) == 'worlds 7000-7005: judging, dials frozen at aaaaaaaaaa'


@pytest.mark.parametrize(
  'changes',
  [
    {'world': {'principled': 0.3, 'by_domain': 0.5}},
    {'pretrain': {'updates': 4001}},
    {'align_text': {'value_pairs': 2}},
    {'statistics': {'smallest_effect': 0.05}},
    {'evals': {'battery_items': 50}},
    {'row_length': 128},
  ],
)
def test_any_other_dial_is_exploration(frozen, changes):
  study = _with(**changes)
  assert protocol.frozen(study) == ''
  assert protocol.describe(study).endswith('exploration, dials not frozen')


@pytest.mark.parametrize('version', ['statistics.RULE', 'TEXT_VERSION'])
def test_another_rule_or_text_is_exploration(frozen, monkeypatch, version):
  assert protocol.frozen(STUDY) == COMMIT
  monkeypatch.setattr(f'whyjax.study.protocol.{version}', 'another')
  assert protocol.frozen(STUDY) == ''


def test_a_phase_study_freezes_its_axes_and_no_other_study_has_any(frozen):
  assert 'phase' not in protocol.dials(STUDY)
  axes = dict(principled=(0.2, 0.8), breadths=('1x1', '1x6'), what='demonstrations')
  phase = _with(kind='phase', phase=axes)
  assert protocol.frozen(phase) == ''
  protocol.freeze(phase, 'b' * 40)
  assert protocol.frozen(_with(kind='phase', phase=axes, seeds={'first_world': 7000})) == 'b' * 40
  other = _with(kind='phase', phase=axes | {'breadths': ('1x1', '2x6')})
  assert protocol.frozen(other) == ''
  assert protocol.frozen(STUDY) == COMMIT


def test_calibration_says_that_it_is_one(frozen):
  assert protocol.describe(_with(seeds={'first_world': 3, 'worlds': 1})) == (
    'world 3: calibration, no verdicts'
  )


def test_dials_are_frozen_once_and_at_a_commit(frozen):
  with pytest.raises(UserError, match=f'frozen already, at {COMMIT}'):
    protocol.freeze(STUDY, COMMIT)
  other = _with(row_length=128)
  for commit in ('', 'b' * 40 + '-dirty'):
    with pytest.raises(UserError, match='commit first'):
      protocol.freeze(other, commit)
  protocol.freeze(other, 'b' * 40)
  assert protocol.frozen(STUDY) == COMMIT and protocol.frozen(other) == 'b' * 40
  assert len(json.loads(frozen.read_text())) == 2


def test_a_disk_that_is_full_costs_no_frozen_dials(frozen, monkeypatch):
  before = frozen.read_text()

  def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(OSError, match='No space'):
    protocol.freeze(_with(pretrain={'updates': 4001}), COMMIT)
  assert frozen.read_text() == before


def test_the_committed_file_can_be_read_and_names_commits():
  entries = json.loads(protocol.FROZEN.read_text())
  groups = protocol.dials(STUDY).keys() | {'phase'}
  for entry in entries:
    assert len(entry['commit']) == 40 and entry['dials'].keys() <= groups
  assert protocol.frozen(STUDY), 'the dials of defaults.py are those of the main job'
