"""What the vLLM Semantic Router needs of a model, as a check that needs no router.

:func:`check_package` looks at the folder of a release: its files, configuration, weights and tokenizer, and then its
answers, computed a second time from ``config.json`` and ``model.safetensors`` alone and held against ``pipeline()``.
"""

from __future__ import annotations

from hubtools.router_contract.check import CONTRACT, Check, failures, table_of
from hubtools.router_contract.package import check_package

__all__ = ["CONTRACT", "Check", "check_package", "failures", "table_of"]
