"""What is true: values, agents, domains, situations, and the oracle of each. Imports numpy
alone."""
