"""What it does: batteries of frozen items, forced and free-running scoring, records of outcomes."""
