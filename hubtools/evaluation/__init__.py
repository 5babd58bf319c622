"""From a model and a test split to predictions, and from predictions to every number on the card."""
