"""How far a model's answers hold on text that is written otherwise, is longer, or names other people."""
