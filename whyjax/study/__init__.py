"""What we compare: the graph of stages, their provenance and reuse, statistics and verdicts."""
