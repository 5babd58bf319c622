"""What ``finetune.py`` is made of: presets, encoding, loss, and the files of a release."""
