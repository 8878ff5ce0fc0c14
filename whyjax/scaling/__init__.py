"""How it grows: laws fitted to a table of trained models."""
