"""Who reads: the transformer, its sizes, and how it writes."""
