"""The rule of a verdict as most tests of it use it: that of the shipped studies, with fewer
draws."""

from whyjax.config import EvalConfig, StatisticsConfig

SETTINGS = StatisticsConfig(bootstrap=200, confidence=0.95, smallest_effect=0.1, split=0)
GATES = EvalConfig(
  batteries=('agentic-tools', 'facts'),
  battery_items=100,
  max_new_tokens=8,
  samples=0,
  temperature=1.0,
  malformed_gate=0.05,
  knowledge_gate=0.9,
)
