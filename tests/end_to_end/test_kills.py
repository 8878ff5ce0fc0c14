"""A few of the kills that `python -m tests.end_to_end.kills` does by the hundred, WHYJAX_TEST_KILLS
of them (6 unless it is set); and what a kill at a known moment costs."""

import os
import re
import signal
import time

from tests.end_to_end import programs
from tests.end_to_end.kills import Campaign
from tests.end_to_end.victims import WAYS

KILLS = int(os.environ.get('WHYJAX_TEST_KILLS', '6'))
EVERY = 60  # updates between checkpoints: they take longer than it takes to write one
ONE_STAGE = (
  '--config.arms=("none",)',
  '--config.later_arms=()',
  '--config.later=()',
  '--config.claims=()',
  f'--config.pretrain.updates={5 * EVERY}',
  f'--config.pretrain.checkpoint_every={EVERY}',
  '--config.device.steps_per_dispatch=1',
)


def test_nothing_is_lost_to_kills_at_random_moments(tmp_path):
  most = max(1, min(4, KILLS // len(WAYS)))
  campaign = Campaign(tmp_path, seed=26, stages=2, own=False, most=most, grace=3, say=print)
  campaign.work(KILLS)
  kills = campaign.records('kill')
  assert len(kills) == KILLS
  assert {kill['way'] for kill in kills} == set(WAYS)
  assert len({kill['phase'] for kill in kills}) > min(3, KILLS // 5)


def test_a_kill_costs_no_more_than_the_updates_since_the_last_checkpoint(tmp_path):
  words = programs.command(tmp_path / 'w', *ONE_STAGE)
  (killed,) = programs.start(words)
  deadline = time.monotonic() + 200
  while not (stage := _pretraining(tmp_path / 'w')) or not (
    2 * EVERY <= programs.latest(stage) < programs.reported(stage)
  ):
    assert killed.poll() is None, killed.stderr.read()
    assert time.monotonic() < deadline
    time.sleep(0.005)
  killed.send_signal(signal.SIGKILL)
  killed.communicate()
  saved, reported = programs.latest(stage), programs.reported(stage)
  assert saved % EVERY == 0 and 0 < reported - saved <= EVERY
  (resumed,) = programs.start(words)
  said, _ = resumed.communicate(timeout=240)
  assert resumed.returncode == 0
  assert re.findall(r'^pretrain: resumes at update (\d+) of', said, re.MULTILINE) == [str(saved)]
  assert programs.reported(stage) == 5 * EVERY


def _pretraining(workdir):
  return next(workdir.glob('stages/pretrain-*'), None)
