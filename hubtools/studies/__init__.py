"""What a team does before it believes one training: a search, folds, and several seeds."""
