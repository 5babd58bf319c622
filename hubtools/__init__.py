"""hubtools: from public data to four published classifiers on the Hugging Face Hub."""

__version__ = "0.1.0"
