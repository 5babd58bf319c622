"""From public rows to a dataset that can be trusted: sources, cleaning, duplicates, splits, build."""
