"""The axes of a phase study: who lives in the world of pretraining, and how broad alignment is.

Every cell of the grid is an ordinary study with two dials set: the share of principled agents (the
others keep the configured ratio of kinds), and the breadth of the alignment text of every arm, as
'DOMAINSxPAIRS'. Broader text contains the domains and pairs of narrower text, and the budget of
tokens is the same, so that nothing but breadth grows along that axis.
"""

import dataclasses
import itertools
import re

from whyjax.config import StudyConfig
from whyjax.corpus import arms
from whyjax.errors import UserError, require
from whyjax.results import BASE

_LEAST_STEP = 0.001  # between shares, so that their names differ


def parse(breadth: str) -> tuple[int, int]:
  """(domains, value pairs) of a breadth such as '1x6'.

  Raises:
    UserError: it does not have that form.
  """
  match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', breadth)
  if not match:
    raise UserError(f'config.phase.breadths = {breadth!r}: must be DOMAINSxPAIRS, such as 1x6')
  return int(match[1]), int(match[2])


def size(breadth: str) -> int:
  """How much is shown: domains times value pairs, the unit of the axis."""
  domains, pairs = parse(breadth)
  return domains * pairs


def percent(share: float) -> str:
  """A share as it stands in the names of stages."""
  return f'{100 * share:g}'


def at_share(study: StudyConfig, share: float) -> StudyConfig:
  """The study in a world with this share of principled agents."""
  world = study.world
  # Rounded, so that the share that the config has gives the very world that the config gives.
  by_domain, by_tools = (
    round((1 - share) * part / (world.by_domain + world.by_tools), 9) if share < 1 else 0.0
    for part in (world.by_domain, world.by_tools)
  )
  kinds = dict(principled=share, by_domain=by_domain, by_tools=by_tools)
  return dataclasses.replace(study, world=dataclasses.replace(world, **kinds))


def at_breadth(study: StudyConfig, breadth: str) -> StudyConfig:
  """The study with alignment text of this breadth."""
  domains, pairs = parse(breadth)
  text = dataclasses.replace(study.align_text, domains=domains, value_pairs=pairs)
  return dataclasses.replace(study, align_text=text)


def check(study: StudyConfig) -> None:
  """Whether a phase study can be: its axes, its arms and its number of worlds.

  Raises:
    UserError: it can not.
  """
  _check_shares(study)
  _check_breadths(study)
  _check_arms(study)
  require(
    study.seeds.worlds >= 2,
    'seeds.worlds',
    study.seeds.worlds,
    "at least 2 when config.kind = 'phase': one world says nothing about others",
  )


def _check_shares(study: StudyConfig) -> None:
  shares, world = study.phase.principled, study.world
  require(len(shares) >= 2, 'phase.principled', shares, 'at least 2 shares to make a diagram')
  steps = [after - before for before, after in itertools.pairwise(shares)]
  require(
    min(steps) >= _LEAST_STEP - 1e-9,
    'phase.principled',
    shares,
    f'ascending, in steps of at least {_LEAST_STEP}',
  )
  others = world.by_domain + world.by_tools
  require(
    others > 0,
    'world.by_domain + by_tools',
    others,
    'above 0: it says what the agents are that are not principled',
  )


def _check_breadths(study: StudyConfig) -> None:
  field, breadths, world = 'phase.breadths', study.phase.breadths, study.world
  most = world.virtues * world.temptations
  for breadth in breadths:
    domains, pairs = parse(breadth)
    require(
      domains < world.chat_domains,
      field,
      breadth,
      f'of fewer domains than world.chat_domains = {world.chat_domains}, so that one is held out',
    )
    require(
      pairs <= most,
      field,
      breadth,
      f'of at most world.virtues x world.temptations = {most} value pairs',
    )
    require(
      pairs < most or 'heldout-pairs' not in study.evals.batteries,
      field,
      breadth,
      f"of fewer than {most} value pairs when config.evals.batteries has 'heldout-pairs'",
    )
  require(len(breadths) >= 2, field, breadths, 'at least 2 breadths to make a diagram')
  sizes = [size(breadth) for breadth in breadths]
  require(
    sizes == sorted(set(sizes)), field, breadths, 'ascending in domains x value pairs, without ties'
  )


def _check_arms(study: StudyConfig) -> None:
  what, named = study.phase.what, study.arms
  for arm in named:
    require(
      not arms.ARMS[arm].after, 'arms', arm, "no arm that starts from another when kind = 'phase'"
    )
    require(arms.ARMS[arm].trains, 'arms', arm, "an arm that trains when kind = 'phase'")
  require(BASE in named, 'arms', named, f'with {BASE!r}, the level without alignment text')
  among = ', '.join(arm for arm in named if arm != BASE) or 'none'
  require(
    what in named and what != BASE,
    'phase.what',
    what,
    f'an arm with alignment text among config.arms; there: {among}',
  )
  require(
    len(named) > 2,
    'arms',
    named,
    f'with an arm beside {BASE!r} and phase.what = {what!r}, to compare with it',
  )
