"""How often the verdict machine errs, by simulation: `python -m benchmarks.verdict_errors [N]`.

N studies a row (100 unless said otherwise, in under a minute; the log's table has 600). Each
judges 8 claims against one control. Rates vary between worlds and between alignment seeds of a
world; outcomes of items are drawn from them. Prints, as percentages:

  null: no effect on average. False claims of either direction by the whole rule, per claim and in a
    study of 8 (nominal 5); then how often a single p < 0.05 by our p-value and by three others;
    then how often the 95% interval holds the truth.
  power: how often an effect is called supported.
  least: how often an effect equal to the smallest of interest is called contradicted.
"""

import sys

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import special

from whyjax.study import statistics

DESIGNS = ((2, 2), (4, 2), (6, 1), (8, 1))  # worlds, seeds of a world
NULL_SDS = (0.0, 0.1, 0.2, 0.3)  # between worlds
EFFECTS = (0.2, 0.3, 0.45, 0.6, 0.9)
POWER_SD = 0.1
SEED_SD = 0.05
CLAIMS, ITEMS = 8, 100
LIMITS = {'confidence': 0.95, 'smallest_effect': 0.1}


def simulate(
  rng: np.random.Generator, worlds: int, seeds: int, effect: float, world_sd: float
) -> np.ndarray:
  """Paired differences [claim, replica, item]; all claims share the outcomes of one control."""

  def outcomes(arms, mean):
    by_world = rng.normal(mean, world_sd / np.sqrt(2), (arms, worlds, 1, 1))
    rates = rng.normal(by_world, SEED_SD / np.sqrt(2), (arms, worlds, seeds, 1))
    drawn = rng.random((arms, worlds, seeds, ITEMS)) < rates
    return drawn.reshape(arms, worlds * seeds, ITEMS).astype(float)

  return outcomes(CLAIMS, 0.5 - effect / 2) - outcomes(1, 0.5 + effect / 2)


def judge(
  differences: np.ndarray, worlds: list[int]
) -> tuple[list[statistics.Estimate], list, list]:
  """The estimates of one study, and its verdicts if all claims say 'lower', and if all say
  'higher'."""
  found = [
    statistics.estimate(
      d, worlds, prior_sd=statistics.PRIOR_SD['rate'], draws=100, confidence=0.95, seed=i
    )
    for i, d in enumerate(differences)
  ]
  p_holm = statistics.holm([e.p for e in found])

  def verdicts(direction):
    short = statistics.holm([e.p_short(direction, LIMITS['smallest_effect']) for e in found])
    return [
      statistics.decide(e, *p, direction=direction, **LIMITS)[0]
      for e, *p in zip(found, p_holm, short, strict=True)
    ]

  lower, higher = verdicts('lower'), verdicts('higher')
  return found, lower, higher


def other_tests(difference: np.ndarray, worlds: list[int], rng: np.random.Generator) -> list[bool]:
  """Whether p < 0.05 by a percentile bootstrap, a t-test over replicas and one over worlds."""
  low, high = np.quantile(statistics.bootstrap(difference, worlds, 100, rng), [0.025, 0.975])
  replicas = difference.mean(axis=1)
  by_world = replicas.reshape(len(set(worlds)), -1).mean(axis=1)
  return [low > 0 or high < 0, *(_t_test(values) for values in (replicas, by_world))]


def _t_test(values: np.ndarray) -> bool:
  critical = special.stdtrit(len(values) - 1, 0.975)
  return bool(abs(values.mean()) * np.sqrt(len(values)) > critical * values.std(ddof=1))


def null_row(count: int, worlds: int, seeds: int, world_sd: float) -> list[float]:
  """Error rates in `count` studies when the effect is zero on average."""
  rng = np.random.default_rng([worlds, seeds, int(100 * world_sd)])
  labels = np.repeat(np.arange(worlds), seeds).tolist()
  claims, studies = [], []
  for _ in range(count):
    differences = simulate(rng, worlds, seeds, 0.0, world_sd)
    found, lower, higher = judge(differences, labels)
    false = [statistics.SUPPORTED in pair for pair in zip(lower, higher, strict=True)]
    studies.append(any(false))
    claims += [
      [f, e.p < 0.05, *other_tests(d, labels, rng), e.low <= 0 <= e.high]
      for f, e, d in zip(false, found, differences, strict=True)
    ]
  per_claim = np.mean(claims, axis=0)
  return [per_claim[0], np.mean(studies), *per_claim[1:]]


def verdict_rate(count: int, worlds: int, seeds: int, effect: float, verdict: str) -> float:
  """Share of the claims of `count` studies of a true effect that get this verdict."""
  rng = np.random.default_rng([worlds, seeds, int(100 * effect)])
  labels = np.repeat(np.arange(worlds), seeds).tolist()
  drawn = (simulate(rng, worlds, seeds, effect, POWER_SD) for _ in range(count))
  return float(np.mean([word == verdict for d in drawn for word in judge(d, labels)[1]]))


def main(count: int) -> None:
  """Prints both tables."""
  null = Table(
    'design', 'sd of worlds', 'false, claim', 'false, study', 'p < .05', 'bootstrap', title='null'
  )
  for heading in ('t, replicas', 't, worlds', 'coverage'):
    null.add_column(heading)
  power = Table('design', *(f'effect {e:g}' for e in EFFECTS), 'least', title='power')
  for worlds, seeds in DESIGNS:
    for sd in NULL_SDS:
      shares = null_row(count, worlds, seeds, sd)
      null.add_row(f'{worlds} x {seeds}', f'{sd:g}', *(f'{100 * v:.1f}' for v in shares))
    shares = [verdict_rate(count // 2, worlds, seeds, e, statistics.SUPPORTED) for e in EFFECTS]
    least = LIMITS['smallest_effect']
    shares.append(verdict_rate(count // 2, worlds, seeds, least, statistics.CONTRADICTED))
    power.add_row(f'{worlds} x {seeds}', *(f'{100 * v:.0f}' for v in shares))
  console = Console(width=120)
  console.print(null, power)


if __name__ == '__main__':
  main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
