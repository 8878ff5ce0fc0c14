"""The figures of scaling laws, as files. What was refused is not drawn."""

from collections.abc import Callable
import functools
import os
from pathlib import Path

from matplotlib.figure import Figure

from whyjax.report import figures, law_arms, law_losses
from whyjax.report.figures import LIGHT, Theme
from whyjax.scaling.estimate import Estimate
from whyjax.scaling.laws import Laws

OF_LOSS = ('loss', 'isoflop')  # the same whatever the scoring
ABOUT = {
  'loss': 'Held-out loss against compute of pretraining; lines: the fitted law, if there is one.',
  'isoflop': 'Held-out loss against parameters at equal compute; the best size of each level.',
  'misalignment': 'Misaligned choices of each arm against compute of pretraining.',
  'doses': 'Misaligned choices against alignment tokens, with the fitted curves.',
  'advantage': 'How much less is misaligned than with the control, against N and against A.',
  'ratio': 'Alignment tokens needed over those that the control needs, against N.',
}


def drawings(found: Laws) -> dict[str, Callable[..., Figure]]:
  """By name, the figures that these findings allow; each takes a theme."""
  rated = [  # a dose of 0 alone says nothing of an arm
    law
    for law in found.doses
    if any(dose and isinstance(r, Estimate) for dose, r in zip(law.doses, law.rates, strict=True))
  ]
  allowed = {
    'loss': (law_losses.loss, found.table.losses),
    'isoflop': (law_losses.isoflop, [level for level in found.isoflop.levels if level.curve]),
    'misalignment': (law_arms.misalignment, rated),
    'doses': (law_arms.doses, rated),
    'advantage': (law_arms.advantage, found.advantages),
    'ratio': (law_arms.ratio, [r for r in found.ratios if r.samples is not None]),
  }
  return {name: functools.partial(draw, found) for name, (draw, some) in allowed.items() if some}


def save(found: Laws, directory: Path, theme: Theme = LIGHT) -> list[Path]:
  """Writes every figure as law-NAME.png and law-NAME.svg, each in one atomic step; returns their
  paths."""
  directory = Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  paths = []
  for name, draw in drawings(found).items():
    figure = draw(theme)
    for kind, content in (('png', figures.png(figure)), ('svg', figures.svg(figure))):
      path = directory / f'law-{name}.{kind}'
      temporary = path.with_name(path.name + '.tmp')
      temporary.write_bytes(content)
      os.replace(temporary, path)
      paths.append(path)
  return paths
