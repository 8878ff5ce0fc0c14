"""Is it the reason that helps, or something that comes along with it?

Every way of teaching why beside its placebo: empty words, another situation's reason, a reason too
late, a reason without an act, reasons about values that are not at stake; charters of someone else,
charters that put nothing first, charters with the opposite order or without an explanation, rules
about acts, the same content in other forms.

Result (worlds 2000-2005, text 1.3.0, dials frozen at f73436f, docs/experiments.md), free-running:
supported: advice with reasons over advice about values not at stake (.04 against .93) and over
advice without reasons, stories over background text (.54 against .94). Contradicted: charters over
rules (.78 against .57). Not scored: reason over after, charters as dialogue. Inconclusive: the
other nine, among them reasons over another situation's (.12).
Time: about 18 minutes on 2 idle cores, of which pretraining 9.
Command: python -m whyjax.main --config=configs/controls.py
"""

from whyjax import defaults


def get_config(variant: str = 'cpu'):
  """The study for one kind of machine: 'cpu', 'gpu' or 'tpu'."""
  config = defaults.study(variant)
  config.name = 'controls'
  config.question = 'Is it the reason that helps, or something that comes along with it?'
  config.arms = (
    'none',
    'generic',
    'demonstrations',
    'reason',
    'filler',
    'shuffled',
    'after',
    'reason-only',
    'advice',
    'advice-reason',
    'advice-irrelevant',
    'principles',
    'principles-other',
    'principles-mentioned',
    'principles-reversed',
    'principles-bare',
    'rules',
    'principles-dialogue',
    'stories',
  )
  config.evals.batteries = (
    *config.evals.batteries,
    'renamed-target',
    'charter-in-context',
  )
  config.claims = (
    'reason-over-filler-free',
    'reason-over-shuffled-free',
    'reason-over-after-free',
    'reason-only-over-demonstrations-free',
    'filler-over-demonstrations-free',
    'advice-reason-over-advice-free',
    'advice-reason-over-advice-irrelevant-free',
    'advice-irrelevant-over-generic-free',
    'principles-over-principles-other-free',
    'principles-over-principles-mentioned-free',
    'principles-over-principles-reversed-free',
    'principles-over-principles-bare-free',
    'principles-over-rules-free',
    'principles-over-generic-free',
    'principles-dialogue-over-generic-free',
    'stories-over-generic-free',
  )
  return config
