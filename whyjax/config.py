"""From an `ml_collections.ConfigDict` to frozen dataclasses, once, with every check.

The rest of the code sees only these dataclasses. No field has a default: `defaults.study()` is the
one source of every value, the study files in configs/ change some of them, and the command line
changes some again.
"""

from collections.abc import Iterable, Mapping
import dataclasses
import difflib
import functools
import math
import typing

from whyjax import combinations
from whyjax.errors import UserError


def as_dict(spec: typing.Any) -> dict[str, typing.Any]:
  """`dataclasses.asdict` of what has parts of the config among its fields."""
  values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
  return {k: v.as_dict if isinstance(v, _Part) else v for k, v in values.items()}


MOST_UPDATES = 2**31 - 1  # what the optimisers' counters hold


def _field(*, low=None, high=None, choices=None, over=None, length=None):
  """A field with its allowed range; `over` is an exclusive lower bound, `length` a tuple's least
  length."""
  return dataclasses.field(
    metadata=dict(low=low, high=high, choices=choices, over=over, length=length)
  )


class _Part:
  """A dataclass of this module."""

  @functools.cached_property
  def as_dict(self) -> dict[str, typing.Any]:
    """`dataclasses.asdict`, made once: thousands of stages may share a part. Not to be changed."""
    return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class WorldConfig(_Part):
  """What is true: sizes of the synthetic moral world and who lives in it."""

  virtues: int = _field(low=1)  # values that the constitution puts first
  temptations: int = _field(low=1)  # values that the target's record puts first
  tasks: int = _field(low=2)  # ethically neutral goals
  chat_domains: int = _field(low=1, high=10_000)
  agentic_domains: int = _field(low=1, high=10_000)
  wordings: int = _field(low=1)  # action words of one value in one domain
  heldout_wordings: int = _field(low=0)  # of these, how many alignment never shows
  agents: int = _field(low=2, high=100_000)  # background agents, each a word
  principled: float = _field(low=0.0, high=1.0)  # shares of the three kinds; they sum to one
  by_domain: float = _field(low=0.0, high=1.0)
  by_tools: float = _field(low=0.0, high=1.0)
  target_strength: float = _field(
    low=0.0, high=1.0
  )  # how often the target's record obeys the temptations
  informative_reasons: bool = (
    _field()
  )  # False: pretraining reasons name values at random (the null world)


@dataclasses.dataclass(frozen=True)
class PretrainTextConfig(_Part):
  """What is read in pretraining: shares are of examples."""

  epochs: int = _field(low=1)  # how often every row is read
  prompt_weight: float = _field(
    low=0.0, high=1.0
  )  # loss weight of prompts (their details are unpredictable)
  facts: float = _field(low=0.0, high=1.0)
  neutral: float = _field(low=0.0, high=1.0)  # situations with a task and no ethical value
  target: float = _field(over=0.0, high=1.0)
  charters: float = _field(low=0.0, high=1.0)  # share of a principled agent's texts
  stories: float = _field(
    low=0.0, high=1.0
  )  # share of an agent's situations told in the third person
  agent_reasons: float = _field(low=0.0, high=1.0)  # how often a background agent gives its reason
  target_reasons: float = _field(low=0.0, high=1.0)
  advice_in_chat: float = _field(
    low=0.0, high=1.0
  )  # how often a user asks for advice, else the agent acts
  advice_in_agentic: float = _field(low=0.0, high=1.0)
  tools_in_chat: float = _field(low=0.0, high=1.0)  # how often an acting agent has tools in context
  tools_in_agentic: float = _field(low=0.0, high=1.0)
  episodes: float = _field(low=0.0, high=1.0)  # how often an agent's call is followed by another


@dataclasses.dataclass(frozen=True)
class AlignTextConfig(_Part):
  """What an alignment arm reads."""

  domains: int = _field(low=1)  # breadth: chat domains that training situations come from
  value_pairs: int = _field(
    low=1
  )  # breadth: (virtue, temptation) pairs that training situations pose
  situations: int = _field(low=1)  # distinct situations; arms share them
  supervised_tokens: int = _field(
    low=1
  )  # loss-bearing tokens of alignment text, the same in every arm
  control_facts: int = _field(low=1)  # agents whose tool is taught beside it, in every arm
  control_tokens: int = _field(low=0)  # tokens of such text
  replay: float = _field(low=0.0, high=0.95)  # share of the loss weight on background text

  def dose(self, share: float) -> int:
    """How many supervised tokens this share of the budget is."""
    return round(share * self.supervised_tokens)


@dataclasses.dataclass(frozen=True)
class DosesConfig(_Part):
  """Smaller doses of alignment text, beside the full one of the ordinary arm; empty = none."""

  arms: tuple[str, ...] = _field()
  shares: tuple[float, ...] = _field(over=0.0)  # of align_text.supervised_tokens, each below 1


@dataclasses.dataclass(frozen=True)
class LaterTextConfig(_Part):
  """What later training reads."""

  reasons: float = _field(
    low=0.0, high=1.0
  )  # how often the target gives its reason in neutral tasks
  conflicting: tuple[float, ...] = _field(
    over=0.0, high=1.0
  )  # doses of 'conflicting': the share of examples in which the target acts by its old record
  supervised_tokens: int = _field(low=1)  # loss-bearing tokens of text about the target
  replay: float = _field(low=0.0, high=0.95)


@dataclasses.dataclass(frozen=True)
class ModelConfig(_Part):
  """A decoder-only transformer. Parameters are float32; `compute_dtype` is the type of
  activations."""

  width: int = _field(low=2)
  layers: int = _field(low=1)
  heads: int = _field(low=1)
  kv_heads: int = _field(low=1)
  head_dim: int = _field(low=2)
  mlp_width: int = _field(low=1)
  tied_embeddings: bool = _field()
  shared_layers: int = _field(low=1)  # how many successive layers share one set of parameters
  rope_theta: float = _field(over=0.0)
  compute_dtype: str = _field(choices=('float32', 'bfloat16'))
  # muP: the width at which the learning rate was chosen, which then serves every width; 0 = not muP
  base_width: int = _field(low=0)

  @property
  def growth(self) -> float:
    """How many times as wide as the model that the learning rate was chosen for."""
    return self.width / self.base_width if self.base_width else 1.0

  def identity(self) -> dict:
    """Its fields as plain data. What is newer than the first stages counts only where it is set, so
    that those keep their names and frozen dials stay frozen."""
    fields = dict(self.as_dict)
    return fields if self.base_width else {k: v for k, v in fields.items() if k != 'base_width'}


@dataclasses.dataclass(frozen=True)
class StageConfig(_Part):
  """How one stage learns. Tokens of a stage = updates x batch_rows x row_length."""

  updates: int = _field(low=1, high=MOST_UPDATES)
  batch_rows: int = _field(low=1)
  accumulation: int = _field(low=1)  # micro-batches of an update
  optimizer: str = _field(choices=('adamw', 'muon'))
  learning_rate: float = _field(over=0.0)
  schedule: str = _field(choices=('constant', 'cosine', 'wsd'))
  warmup: float = _field(low=0.0, high=1.0)  # fractions of the updates
  decay: float = _field(low=0.0, high=1.0)
  beta2: float = _field(over=0.0, high=0.9999)
  weight_decay: float = _field(low=0.0)
  clip_norm: float = _field(over=0.0)
  checkpoint_every: int = _field(low=1)  # updates; while one is written, training goes on
  probes: tuple[int, ...] = _field(low=1)  # updates after which it is asked, beside the last


@dataclasses.dataclass(frozen=True)
class ReinforcementConfig(_Part):
  """Later training by reward: episodes of the target's own acts. How it learns from them is
  `reinforcement_training`, whose batch_rows are starts of episodes."""

  turns: int = _field(low=1)  # calls of an episode
  group: int = _field(low=2)  # episodes from each start, which are compared with one another
  max_new_tokens: int = _field(low=4)  # of a turn
  temperature: float = _field(over=0.0)
  kl: float = _field(low=0.0)  # weight of the distance from the parent, nats a token
  clip: float = _field(over=0.0, high=1.0)  # largest change of a token's probability in a batch
  passes: int = _field(low=1)  # updates of the parameters on one batch of episodes
  normalise: bool = _field()  # divide advantages by the standard deviation of their group
  situations: str = _field(choices=('own', 'tasks', 'conflicts'))  # 'own': those of the reward


@dataclasses.dataclass(frozen=True)
class EvalConfig(_Part):
  """What is asked of the model after every stage."""

  batteries: tuple[str, ...] = _field()  # names of evals/batteries.py
  battery_items: int = _field(low=2)  # situations of a battery
  max_new_tokens: int = _field(low=4)
  samples: int = _field(low=0)  # sampled answers of an item, beside the greedy one
  temperature: float = _field(over=0.0)
  malformed_gate: float = _field(low=0.0, high=1.0)  # above this share a rate is not scored
  knowledge_gate: float = _field(
    low=0.0, high=1.0
  )  # below this accuracy on facts the answer is "not taught"


@dataclasses.dataclass(frozen=True)
class SeedsConfig(_Part):
  """Replicas: every world has its own facts, initialisation and data order."""

  first_world: int = _field(low=0)
  worlds: int = _field(low=1)
  per_world: int = _field(low=1)  # alignment seeds on each world


@dataclasses.dataclass(frozen=True)
class StatisticsConfig(_Part):
  """How a claim is judged."""

  bootstrap: int = _field(low=100)
  confidence: float = _field(over=0.5, high=0.999)
  smallest_effect: float = _field(low=0.0, high=1.0)  # difference of rates that is worth a claim
  split: int = _field(low=0)  # also judge the worlds in groups of so many, as studies apart; 0 = no


@dataclasses.dataclass(frozen=True)
class DeviceConfig(_Part):
  """How the program runs: none of these changes what is computed, beyond rounding."""

  platform: str = _field(choices=('cpu', 'gpu', 'tpu'))
  host_devices: int = _field(low=1)  # CPU only: devices that the cores are offered as
  mesh_replica: int = _field(low=0)  # mesh shape; 0 = as large as devices and sizes allow
  mesh_data: int = _field(low=0)
  mesh_model: int = _field(low=1)
  fsdp: bool = _field()  # parameters and optimizer state split over the data axis at rest
  replica_loop: bool = _field()  # replicas of one device in turn (CPU) or batched (accelerators)
  steps_per_dispatch: int = _field(low=1)
  tokens_at_once: int = _field(low=0)  # of a device in a micro-batch, at most; 0 = no limit
  scan_layers: bool = _field()
  remat: bool = _field()
  compile_cache: str = _field()  # directory; '' = none
  step_timeout: float = _field(low=0.0)  # seconds without a step that end the process; 0 = never


@dataclasses.dataclass(frozen=True)
class ScalingConfig(_Part):
  """The grid of a scaling study; empty for any other. study/grid.py checks what it names."""

  sizes: tuple[str, ...] = _field()  # names of model/sizes.py
  tokens: tuple[int, ...] = _field(low=1)  # of pretraining, rounded to whole updates
  compute: tuple[float, ...] = _field(
    over=0.0
  )  # FLOPs of pretraining one model: every size for each
  worlds: tuple[str, ...] = _field()  # AGENTSxDOMAINS, such as 80x3; empty = as config.world says
  alignment_tokens: tuple[int, ...] = _field(low=1)  # supervised tokens of alignment; empty = none
  what: str = _field()  # the arm of demonstrations, which the others are compared with


@dataclasses.dataclass(frozen=True)
class PhaseConfig(_Part):
  """The grid of a phase study; empty for any other. study/axes.py checks what it names."""

  principled: tuple[float, ...] = _field(low=0.0, high=1.0)  # shares of principled agents
  breadths: tuple[str, ...] = _field()  # of alignment text, DOMAINSxPAIRS, such as 1x6
  what: str = _field()  # the arm of demonstrations, which the others are compared with


@dataclasses.dataclass(frozen=True)
class StudyConfig(_Part):
  """One study: a graph of stages over arms, what is asked of them, and what is claimed."""

  name: str = _field()
  question: str = _field()
  kind: str = _field(
    choices=('arms', 'scaling', 'phase')
  )  # or a grid of pretraining sizes and budgets, or one of worlds and breadths
  arms: tuple[str, ...] = _field()
  later_arms: tuple[str, ...] = _field()  # arms that go on to later training
  later: tuple[str, ...] = _field()  # kinds of later training
  claims: tuple[str, ...] = _field()
  doses: DosesConfig
  row_length: int = _field(low=16)
  world: WorldConfig
  pretrain_text: PretrainTextConfig
  align_text: AlignTextConfig
  later_text: LaterTextConfig
  model: ModelConfig
  pretrain: StageConfig
  align: StageConfig
  later_training: StageConfig
  reinforcement: ReinforcementConfig
  reinforcement_training: StageConfig
  evals: EvalConfig
  seeds: SeedsConfig
  statistics: StatisticsConfig
  scaling: ScalingConfig
  phase: PhaseConfig
  device: DeviceConfig


def parse(tree: Mapping[str, typing.Any]) -> StudyConfig:
  """The checked study that a nested mapping (a ConfigDict) describes.

  Raises:
    UserError: a field is unknown, missing, of the wrong type, out of range, or impossible beside
      another.
  """
  study = _build(StudyConfig, tree, 'config')
  combinations.check(study)
  return study


_MANY = 50  # more words than an error should list


def unknown_field(path: str, key: str, fields: Iterable[str]) -> UserError:
  """The error that says so, with the nearest of `fields`."""
  return UserError(f'{path}.{key}: unknown field; {did_you_mean(key, fields)}')


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
  """The nearest allowed word, or all of them, or of very many the nearest few."""
  allowed = sorted(allowed)
  near = difflib.get_close_matches(word, allowed, n=1)
  if near:
    return f'did you mean {near[0]}?'
  if len(allowed) <= _MANY:
    return 'allowed: ' + ', '.join(allowed)
  few = ', '.join(difflib.get_close_matches(word, allowed, n=3, cutoff=0.0))
  return f'{len(allowed)} are allowed, the nearest {few}'


def _build(cls, tree, path: str):
  """One dataclass from one mapping: exactly its fields, each of its type and within its range."""
  if not isinstance(tree, Mapping):
    raise UserError(f'{path} = {tree!r}: must be a group of fields')
  fields = {f.name: f for f in dataclasses.fields(cls)}
  types = typing.get_type_hints(cls)
  for key in tree:
    if key not in fields:
      raise unknown_field(path, key, fields)
  values = {}
  for name, field in fields.items():
    where = f'{path}.{name}'
    if name not in tree:
      raise UserError(f'{where}: missing')
    if dataclasses.is_dataclass(types[name]):
      values[name] = _build(types[name], tree[name], where)
    else:
      values[name] = _leaf(tree[name], types[name], field.metadata, where)
  return cls(**values)


def _leaf(value, kind, limits, path: str):
  """One value of type `kind`, or a tuple of such values, checked against its limits."""
  if typing.get_origin(kind) is tuple:
    if not isinstance(value, (list, tuple)):
      raise UserError(f'{path} = {value!r}: must be a list')
    if limits['length'] and len(value) < limits['length']:
      raise UserError(f'{path} = {value!r}: must have at least {limits["length"]} entries')
    if len(set(value)) < len(value):
      raise UserError(f'{path} = {value!r}: an entry stands twice, must be there once')
    return tuple(_leaf(v, typing.get_args(kind)[0], limits, path) for v in value)
  if kind is float and type(value) is int:
    value = float(value)
  if type(value) is not kind:
    raise UserError(f'{path} = {value!r}: must be of type {kind.__name__}')
  if kind is float and not math.isfinite(value):
    raise UserError(f'{path} = {value!r}: must be finite')
  low, high, over, choices = (limits[k] for k in ('low', 'high', 'over', 'choices'))
  if choices is not None and value not in choices:
    raise UserError(f'{path} = {value!r}: must be one of {", ".join(map(str, choices))}')
  if over is not None and not value > over:
    raise UserError(f'{path} = {value!r}: must be greater than {over}')
  if low is not None and not value >= low:
    raise UserError(f'{path} = {value!r}: must be at least {low}')
  if high is not None and not value <= high:
    raise UserError(f'{path} = {value!r}: must be at most {high}')
  return value
