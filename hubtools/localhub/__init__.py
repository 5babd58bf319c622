"""The embedded Hub: a small local server that speaks the Hugging Face Hub's HTTP protocol.

The real clients (huggingface_hub, datasets, transformers, the ``hf`` command) work against it
unmodified, given the environment in ``Hub.environ``. See ``service`` for starting and stopping it.
Importing this package loads the standard library only.
"""

from hubtools.localhub.service import Hub, default_dir, find, serve, shell_exports, start, stop

__all__ = ["Hub", "default_dir", "find", "serve", "shell_exports", "start", "stop"]
