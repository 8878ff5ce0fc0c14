"""The shape of a model and of its batch, as it is handed to a process that does not import
whyjax."""

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class Shape:
  """A decoder with rotary positions and SwiGLU, and the rows that one update reads."""

  width: int
  layers: int
  heads: int
  kv_heads: int
  head_dim: int
  mlp_width: int
  vocabulary: int
  rows: int
  row_length: int
  updates: int  # of one call

  @property
  def tokens(self) -> int:
    """Of one call."""
    return self.updates * self.rows * self.row_length

  def dumps(self) -> str:
    """As an argument of a command."""
    return json.dumps(dataclasses.asdict(self))

  @classmethod
  def loads(cls, text: str) -> 'Shape':
    """From an argument of a command."""
    return cls(**json.loads(text))
