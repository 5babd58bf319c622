"""What goes to the Hub: cards, datasets, models and the Space, each as one atomic commit."""
