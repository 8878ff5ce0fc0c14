"""On data from known laws intervals hold the truth about as often as they say.

At a nominal 95%, of a hundred data sets each; `python -m benchmarks.law_coverage` prints more, with
more resamples. Short bootstraps find somewhat narrow intervals.
"""

import pytest

from benchmarks import law_coverage as simulated
from whyjax.scaling.settings import Settings

COUNT = 100
SETTINGS = Settings(resamples=40, rests=(0.5, 0.9), exponents=(0.2, 0.6))


def _check(told, quantities):
  found = simulated.tell(told)
  assert set(quantities) <= set(found)
  for name in quantities:
    assert simulated.coverage(found[name]) >= 0.85, name
    estimated = [f for _, f in found[name] if hasattr(f, 'value')]
    assert len(estimated) > 0.9 * len(found[name]), name


def test_of_the_law_of_the_loss():
  told = (
    simulated.of_losses(simulated.losses([1, i]), simulated.LAW, SETTINGS) for i in range(COUNT)
  )
  _check(told, 'EAaBb')


def test_of_held_out_cells():
  told = (simulated.of_forecasts(simulated.losses([2, i]), SETTINGS) for i in range(COUNT // 2))
  _check(told, ['held-out loss'])


@pytest.mark.parametrize('worlds', [1, 3])
def test_of_isoflop_minima_and_their_exponent(worlds):
  places = simulated.isoflop_places()
  told = (
    simulated.of_isoflops(
      simulated.losses([3, i], worlds=worlds, places=places), simulated.LAW, SETTINGS
    )
    for i in range(COUNT)
  )
  _check(told, ['N_opt of a level', 'exponent (isoFLOP)'])


def test_of_dose_curves_and_ratios():
  told = (
    simulated.of_rates(simulated.rates([4, i]), simulated.SHIFT, simulated.SLOPE, SETTINGS)
    for i in range(COUNT)
  )
  _check(told, ['floor', 'ceiling', 'midpoint', 'log10 ratio', 'slope of it in log10 N'])


def test_of_the_law_at_the_design_of_besiroglu():
  places = [(r['parameters'], r['tokens']) for r in simulated.chinchilla()]
  law = simulated.BESIROGLU
  told = (
    simulated.of_losses(
      simulated.losses([5, i], places=places, law=law, worlds=1, noise=0.0075, spread=0.0),
      law,
      SETTINGS,
    )
    for i in range(COUNT // 4)
  )
  _check(told, 'EAaBb')
