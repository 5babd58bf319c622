"""What the vLLM Semantic Router needs of a model, as a check that needs no router.

:func:`check_package` looks at the folder of a release: its files, configuration, weights and tokenizer, and then its
answers, computed a second time from ``config.json`` and ``model.safetensors`` alone and held against ``pipeline()``.
"""

from __future__ import annotations

from hubtools.router_contract.answers import SELF_CHECK_NAME
from hubtools.router_contract.check import CONTRACT, Check, failures, raise_failures, table_of
from hubtools.router_contract.package import FAMILY, check_package, read_family

__all__ = [
    "CONTRACT", "FAMILY", "SELF_CHECK_NAME", "Check", "check_package", "failures", "raise_failures", "read_family",
    "table_of",
]  # fmt: skip
