"""Do the fits of scaling laws find laws that are known? `python -m benchmarks.law_coverage [N]`.

N simulated data sets a row (100 unless said otherwise, in ten minutes; docs/scaling_laws.md has 300
of most). For each quantity: how often its 95% interval holds the truth, the median width of the
interval, the root mean square error, and in how many data sets it was estimated at all.

The truth: losses follow L = E + A / N^a + B / D^b times a level of each world and noise of each
run; rates follow a logistic in log tokens whose midpoint every world moves, for all arms alike and
for each arm by itself, and items are drawn from them. Then the same at the design of Besiroglu et
al. 2024 (tests/scaling/data/chinchilla.csv): their places, their law, and noise as large as theirs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import itertools
from pathlib import Path
import sys
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from whyjax.scaling import bootstrap, cells, dose_law, forecast, isoflop, loss_law, ratio
from whyjax.scaling import slope as lines
from whyjax.scaling.estimate import Estimate, Finding
from whyjax.scaling.settings import Settings

LAW = {'E': 1.2, 'A': 30.0, 'a': 0.3, 'B': 400.0, 'b': 0.4}
# Published for 240 of the 245 runs, with standard errors .03, 125, .02, 1293, .02.
BESIROGLU = {'E': 1.8172, 'A': 482.01, 'a': 0.3478, 'B': 2085.43, 'b': 0.3658}
CHINCHILLA = Path(__file__).parents[1] / 'tests/scaling/data/chinchilla.csv'
SIZES, BUDGETS = np.geomspace(1e5, 1e7, 4), np.geomspace(1e6, 3e7, 4)
DOSES = np.geomspace(1e3, 1e5, 5)
CURVE = {'floor': 0.1, 'ceiling': 0.9, 'midpoint': 2e4, 'steepness': 1.5}
SHIFT, SLOPE = -0.5, -0.2  # log10 ratio of two arms at a million parameters, and in log10 N
Row = dict[str, Any]


def loss(law: Mapping[str, float], n: float, d: float) -> float:
  """E + A / N^a + B / D^b."""
  return law['E'] + law['A'] / n ** law['a'] + law['B'] / d ** law['b']


def optimum(law: Mapping[str, float]) -> float:
  """The exponent of the best N in compute."""
  return law['b'] / (law['a'] + law['b'])


def losses(
  seed: int | Sequence[int],
  *,
  places: Sequence[tuple[float, float]] | None = None,
  law: Mapping[str, float] = LAW,
  worlds: int = 3,
  noise: float = 0.004,
  spread: float = 0.01,
) -> list[Row]:
  """Rows of pretrained models at these places (N, D); the default is a grid of 4 x 4.

  Args:
    noise: standard deviation of log loss from run to run.
    spread: the same of the levels of worlds.
  """
  rng = np.random.default_rng(seed)
  places = list(itertools.product(SIZES, BUDGETS)) if places is None else places
  rows = []
  for world, level in enumerate(rng.normal(0, spread, worlds)):
    for n, d in places:
      found = loss(law, n, d) * np.exp(level + rng.normal(0, noise))
      cell = {'parameters': round(n), 'tokens': round(d), 'world': world, 'seed': 0}
      rows.append(cell | {'loss': float(found)})
  return rows


def isoflop_places(
  law: Mapping[str, float] = LAW,
  computes: Sequence[float] = (1e13, 1e14, 1e15, 1e16),
  sizes: int = 5,
) -> list[tuple[float, float]]:
  """Sizes at each compute, a factor of about 3 apart, with the best one off their middle."""
  scale = (law['a'] * law['A'] / (law['b'] * law['B'])) ** (1 / (law['a'] + law['b']))
  found = []
  for compute in computes:
    best = scale * (compute / 6) ** optimum(law)
    steps = np.arange(sizes) - (sizes - 1) / 2
    found += [(n, compute / 6 / n) for n in 1.3 * best * 10.0 ** (steps / 2)]
  return found


def rates(
  seed: int | Sequence[int],
  *,
  sizes: Sequence[float] = (1e5, 1e6, 1e7),
  worlds: int = 4,
  seeds: int = 1,
  items: int = 100,
  spread: tuple[float, float, float] = (0.5, 0.3, 0.1),
  shift: float = SHIFT,
  slope: float = SLOPE,
  steepness: float = CURVE['steepness'],
) -> list[Row]:
  """Rows of two arms, `what` and `why`, at five doses each and none.

  Args:
    spread: standard deviations of the log midpoint between worlds, between arms in a world, and
      between sizes in both.
  """
  rng = np.random.default_rng(seed)
  of_world = rng.normal(0, spread[0], worlds)
  of_arm = rng.normal(0, spread[1], (worlds, 2))
  rows = []
  for n, world, arm in itertools.product(sizes, range(worlds), (0, 1)):
    moved = of_world[world] + of_arm[world, arm] + rng.normal(0, spread[2])
    moved += arm * np.log(10) * (shift + slope * (np.log10(n) - 6))
    middle = np.log(CURVE['midpoint']) + moved
    for index, dose in itertools.product(range(seeds), (0.0, *DOSES)):
      if dose == 0 and arm:
        continue  # no alignment at all is the same model for all arms
      share = 1 / (1 + (dose / np.exp(middle)) ** steepness)
      rate = CURVE['floor'] + (CURVE['ceiling'] - CURVE['floor']) * share
      name = ('what', 'why')[arm] if dose else ''
      cell = {'parameters': round(n), 'tokens': 10**6, 'world': world, 'seed': index, 'arm': name}
      cell |= {'alignment_tokens': round(dose * rng.uniform(0.98, 1.02)), 'items': items}
      rows.append(cell | {'rate': rng.binomial(items, rate) / items})
  return rows


Told = Iterator[tuple[str, float, Finding]]  # quantity, truth, what was found


def of_losses(rows: Sequence[Row], law: Mapping[str, float], settings: Settings) -> Told:
  """The parameters of L(N, D), and the best size's exponent by it."""
  found = loss_law.fit(cells.from_rows(rows).losses, settings).findings
  for name, truth in (law | {'N_opt': optimum(law)}).items():
    yield name, truth, found[name]


def of_isoflops(rows: Sequence[Row], law: Mapping[str, float], settings: Settings) -> Told:
  """The best size at each compute, and its exponent."""
  found = isoflop.fit(cells.from_rows(rows).losses, settings)
  scale = (law['a'] * law['A'] / (law['b'] * law['B'])) ** (1 / (law['a'] + law['b']))
  for level in found.levels:
    yield 'N_opt of a level', scale * (level.compute / 6) ** optimum(law), level.best
  yield 'exponent (isoFLOP)', optimum(law), found.exponent


def of_forecasts(rows: Sequence[Row], settings: Settings) -> Told:
  """Errors of the largest cells: the interval of one holds 0 where the prediction was right."""
  table = cells.from_rows(rows).losses
  seen, largest = forecast.split(table, settings)
  made = forecast.forecast(seen, forecast.places(largest), settings)
  for compared in forecast.compare(made, table):
    yield 'held-out loss', 0.0, compared.error


def of_rates(rows: Sequence[Row], shift: float, slope: float, settings: Settings) -> Told:
  """Curves of the control, ratios of the two arms, and how the ratio moves with size."""
  table = cells.from_rows(rows).rates
  drawn = bootstrap.draws(table, settings)
  ratios = []
  for place, own in cells.groups(table, lambda c: c.place).items():
    why, what = (
      dose_law.fit([c for c in own if c.arm in ('', arm)], arm, drawn, settings)
      for arm in ('why', 'what')
    )
    for name in ('floor', 'ceiling', 'midpoint'):
      yield name, CURVE[name], what.findings[name]
    found = ratio.ratio(why, what, drawn, settings)
    yield 'log10 ratio', shift + slope * (np.log10(place[0]) - 6), found.log_ratio
    if found.samples is not None:
      ratios.append(found)
  yield 'slope of it in log10 N', slope, lines.by_size(ratios, 'ratio', drawn)


def chinchilla(path: Path = CHINCHILLA) -> list[Row]:
  """The 240 runs that Besiroglu et al. fitted: without the five of the largest loss."""
  table = np.loadtxt(path, delimiter=',', skiprows=5)
  table = table[table[:, 2] < np.sort(table[:, 2])[-5]]
  return [
    {
      'parameters': round(n), 'tokens': round(flops / 6 / n), 'compute': flops, 'world': 0,
      'seed': seed, 'loss': nats,
    }
    for seed, (n, flops, nats) in enumerate(table.tolist())
  ]  # fmt: skip


def tell(told: Iterator[Told]) -> dict[str, list[tuple[float, Finding]]]:
  """What was found of each quantity over many data sets."""
  found: dict[str, list[tuple[float, Finding]]] = {}
  for name, truth, finding in itertools.chain.from_iterable(told):
    found.setdefault(name, []).append((truth, finding))
  return found


def coverage(found: Sequence[tuple[float, Finding]]) -> float:
  """How often intervals hold the truth, of those that are there."""
  held = [f.holds(truth) for truth, f in found if isinstance(f, Estimate)]
  return float(np.mean(held)) if held else float('nan')


def _studies(count: int, settings: Settings) -> Iterator[tuple[str, Iterator[Told]]]:
  """(design, what is found in each of its data sets)."""

  def each(look: Callable[[int], Told]) -> Iterator[Told]:
    return map(look, range(count))

  for worlds in (1, 3, 6):
    # One world's own level is part of its law: its intervals are not over worlds.
    spread = 0.01 if worlds > 1 else 0.0
    design = {'worlds': worlds, 'spread': spread}
    yield (
      f'grid of 4 x 4, {_of(worlds)}',
      each(lambda i, d=design: of_losses(losses(i, **d), LAW, settings)),
    )
  small = list(itertools.product(SIZES[[0, 1, 3]], BUDGETS[[0, 1, 3]]))
  for name, places in (('grid of 3 x 3', small), ('six places', [*small[:5], small[6]])):
    design = {'worlds': 1, 'spread': 0.0, 'places': places}
    yield (
      f'{name}, 1 world',
      each(lambda i, d=design: of_losses(losses(i, **d), LAW, settings)),
    )
  for worlds, sizes in ((1, 5), (3, 5), (3, 4), (6, 4)):
    design = {'worlds': worlds, 'places': isoflop_places(sizes=sizes)}
    yield (
      f'isoFLOP, 4 levels of {sizes}, {_of(worlds)}',
      each(lambda i, d=design: of_isoflops(losses(i, **d), LAW, settings)),
    )
  for name, places in (('4 x 4', None), ('3 x 3', small)):
    design = {'places': places}
    yield (
      f'grid of {name}, 3 worlds',
      each(lambda i, d=design: of_forecasts(losses(i, **d), settings)),
    )
  for worlds, seeds, steep in ((3, 1, 1.5), (4, 1, 1.5), (4, 2, 1.5), (8, 1, 1.5), (4, 1, 8.0)):
    design = {'worlds': worlds, 'seeds': seeds, 'steepness': steep}
    yield (
      f'2 arms, 3 sizes, 6 doses, {worlds} worlds x {seeds}, steepness {steep:g}',
      each(lambda i, d=design: of_rates(rates(i, **d), SHIFT, SLOPE, settings)),
    )
  places = [(r['parameters'], r['tokens']) for r in chinchilla()]
  design = {'places': places, 'law': BESIROGLU, 'worlds': 1, 'noise': 0.0075, 'spread': 0.0}
  yield (
    'Besiroglu et al., 240 runs',
    each(lambda i: of_losses(losses(i, **design), BESIROGLU, settings)),
  )


def main(count: int) -> None:
  """Prints the table, a design as soon as it is done."""
  console = Console(width=120)
  settings = Settings(resamples=200, rests=(0.5, 0.9), exponents=(0.2, 0.6))
  for design, told in _studies(count, settings):
    began = time.perf_counter()
    found = tell(told)
    table = Table(title=f'{design}: {count} data sets, {time.perf_counter() - began:.0f} s')
    for head in ('quantity', 'truth', 'in the interval', 'width', 'rms error', 'estimated'):
      table.add_column(head, justify='left' if head == 'quantity' else 'right')
    for name, own in found.items():
      there = [(truth, f) for truth, f in own if isinstance(f, Estimate)]
      shown = [name, ' to '.join(dict.fromkeys(f'{t:.4g}' for t in _ends([t for t, _ in own])))]
      if there:
        width = np.median([f.high - f.low for _, f in there])
        error = np.sqrt(np.mean([(f.value - truth) ** 2 for truth, f in there]))
        shown += [f'{100 * coverage(own):.0f}%', f'{width:.3g}', f'{error:.3g}']
      else:
        shown += ['-'] * 3
      table.add_row(*shown, f'{len(there)} of {len(own)}')
    console.print(table)


def _of(worlds: int) -> str:
  return f'{worlds} world{"s" * (worlds != 1)}'


def _ends(values: Sequence[float]) -> tuple[float, float]:
  return min(values), max(values)


if __name__ == '__main__':
  main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
