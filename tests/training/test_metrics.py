"""What was reported is there when a process dies, and a full disk ends training instead of
stopping it."""

import errno
import io
import json
import resource
import signal
import struct

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from whyjax.errors import UserError
from whyjax.training import metrics
from whyjax.training.metrics import Reporter

START = {'step': 4, 'seconds': 1.0, 'loss': [2.0, 2.0], 'reward': []}


def _reporter(tiny, directory) -> Reporter:
  return Reporter(directory, 'align/reason', tiny.stage, 100, START, '')


def _report(reporter, end) -> None:
  reporter.start_clock()
  numbers = {'loss': 1.5, 'grad_norm': 0.25, 'weight': 3.0}
  reporter.report(end, {name: np.full((2, 2), x * end) for name, x in numbers.items()})


def _events(directory) -> list[Event]:
  (path,) = (directory / 'tensorboard').iterdir()
  content, found = path.read_bytes(), []
  while content:  # length, its checksum, the event, its checksum
    (length,) = struct.unpack('Q', content[:8])
    found.append(Event.FromString(content[12 : 12 + length]))
    content = content[16 + length :]
  return found


def test_all_that_was_reported_before_a_checkpoint_is_on_disk(tiny, tmp_path):
  reporter = _reporter(tiny, tmp_path)
  for end in (6, 8):
    _report(reporter, end)
  reporter.flush()  # and from here on nothing is done for it, as when the process is killed
  version, began, *events = _events(tmp_path)
  assert version.file_version == 'brain.Event:2'
  assert (began.session_log.status, began.step) == (SessionLog.START, 5)  # what came after is void
  assert [event.step for event in events] == [6, 8]
  values = [{v.tag: v.simple_value for v in event.summary.value} for event in events]
  assert values[1]['loss/0'] == values[1]['loss/1'] == 12.0 and values[0]['grad_norm/1'] == 1.5
  assert {'learning_rate', 'seconds', 'tokens_per_second', 'weight/0'} < set(values[0])
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(line)['step'] for line in lines] == [6, 8]


@pytest.mark.parametrize('damage', [b'\x80\n', b'{"step": \n', b'{}\n', b'3\n'])
def test_damaged_lines_are_named_and_a_half_one_is_done_again(tiny, tmp_path, damage):
  path = tmp_path / 'metrics.jsonl'
  whole = b'{"step": 2}\n{"step": 4}\n'
  path.write_bytes(whole + b'{"step": 6}\n{"st')
  _reporter(tiny, tmp_path).flush()
  assert path.read_bytes() == whole
  path.write_bytes(whole + damage)
  with pytest.raises(UserError, match=f'{path}: line 3 is damaged; delete that line'):
    _reporter(tiny, tmp_path)
  assert path.read_bytes() == whole + damage


def test_events_that_cannot_be_written_end_training(tiny, tmp_path, monkeypatch):
  monkeypatch.setattr(metrics, '_open_lines', lambda *_: io.StringIO())
  reporter = _reporter(tiny, tmp_path)
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  previous = signal.signal(signal.SIGALRM, lambda *_: pytest.fail('it waits'))
  signal.alarm(30)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # as if the disk were full
  try:
    with pytest.raises(OSError) as full:
      for _ in range(2000):
        _report(reporter, 6)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)
  assert full.value.errno == errno.EFBIG
