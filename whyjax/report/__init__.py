"""What we show: tables, figures and a page, from a results file alone."""
