"""The communication of a compiled program, read from its optimised HLO."""

from collections.abc import Sequence
import dataclasses
import math
import re

KINDS = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute')
_OPERATION = re.compile(rf'= (.*?) ({"|".join(KINDS)}|ragged-all-to-all)(-start)?\(')
_ARRAY = re.compile(r'\b(pred|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]')
_CHANNEL = re.compile(r'channel_id=(\d+)')
_NAME = re.compile(r'op_name="([^"]*)"')
# Groups of devices: by axes of the mesh, as a reshaped range, or one by one.
_BY_AXES = re.compile(r'replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}')
_AXIS_SIZE = re.compile(r"'([^']+)'=(\d+)")
_BY_RANGE = re.compile(r'replica_groups=\[(\d+),(\d+)\]<=')
_ONE_BY_ONE = re.compile(r'(?:replica_groups|source_target_pairs)=\{\{([\d,]*)\}')


@dataclasses.dataclass(frozen=True)
class Collective:
  """One operation in which devices exchange data.

  Attributes:
    kind: such as 'all-gather'.
    bytes: of its result on one device, whose elements have the sizes that their types say.
    group: devices that take part with each other; 0 = all.
    loops: how deep it stands in loops of the program: 1 for what each update does once, 2 for what
      each layer or micro-batch of an update does.
  """

  kind: str
  bytes: int
  group: int
  loops: int


def collectives(text: str) -> Sequence[Collective]:
  """The collectives of a program. What the compiler copied into several places counts once."""
  found: dict[tuple[str, str], Collective] = {}
  for number, line in enumerate(text.splitlines()):
    if operation := _OPERATION.search(line):
      results, kind, starts = operation.groups()
      arrays = [_size(*array) for array in _ARRAY.findall(results)]
      if starts and kind == 'all-gather':
        arrays = arrays[len(arrays) // 2 :]  # operands stand before results
      elif starts and kind == 'collective-permute':
        arrays = arrays[1:2]
      name = _NAME.search(line)
      channel = _CHANNEL.search(line)
      key = (kind, channel[1] if channel else f'line {number}')
      loops = name[1].split('/').count('while') if name else 0
      found.setdefault(key, Collective(kind, sum(arrays), _group(line), loops))
  return list(found.values())


def _size(kind: str, shape: str) -> int:
  """Bytes of an array such as bf16[8,128]."""
  bits = 8 if kind == 'pred' else int(re.search(r'\d+', kind)[0])
  return math.prod(int(n) for n in shape.split(',') if n) * bits // 8


def _group(line: str) -> int:
  if by_axes := _BY_AXES.search(line):
    sizes = dict(_AXIS_SIZE.findall(by_axes[1]))
    return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", by_axes[2]))
  if by_range := _BY_RANGE.search(line):
    return int(by_range[2])
  if one_by_one := _ONE_BY_ONE.search(line):
    return len(one_by_one[1].split(','))
  return 0
