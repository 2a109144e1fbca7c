"""cardiozoo: a model zoo for learning from the heart's many signals together.

Importing this package is light: nothing here loads torch until a model or a data module is created.
"""

from __future__ import annotations

from cardiozoo.registry import create_datamodule, create_model, list_datamodules, list_models

__version__ = "0.1.0"

__all__ = ["__version__", "create_datamodule", "create_model", "list_datamodules", "list_models"]
