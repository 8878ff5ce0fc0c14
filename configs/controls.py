"""Is it the reason that helps, or something that comes along with it?

Every way of teaching why beside its placebo: empty words, another situation's reason, a reason too
late, a reason without an act, reasons about values that are not at stake; charters of someone else,
charters that put nothing first, charters with the opposite order or without an explanation, rules
about acts, the same content in other forms.

Result (worlds 2200-2205, dials frozen at f5162a0, rule 6; docs/experiments.md): supported,
free-running: reasons over empty words and over reasons after the act; reasons alone, without the
acts, over demonstrations (.02 against .43); advice with reasons over advice without and over advice
about values not at stake (.85); charters over background text (.30 against .99) and over charters
with the opposite order (1.00); stories over background text (.74). Not scored: charters as
dialogue, charters that put nothing first. Inconclusive: the others, among them empty words over
demonstrations (.54), charters over those of somebody else, over bare ones, over rules.
Time: 14 to 18 minutes on 2 idle cores, of which pretraining 8 to 11.
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
