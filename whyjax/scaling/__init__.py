"""How it grows: laws fitted to the records of a scaling study."""
