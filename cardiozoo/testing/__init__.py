"""The contract of the zoo as a public suite: what every model and every data module must do, for plugins as for us.

In a plugin's own tests::

    import pytest
    from cardiozoo.testing import model_checks

    @pytest.mark.parametrize("check", model_checks("my_model"), ids=str)
    def test_contract(check):
        check()

or, all at once, ``check_model("my_model")``. A failure is an ``AssertionError`` that says what was expected.
"""

from cardiozoo.testing.batches import make_batch
from cardiozoo.testing.data import check_datamodule, datamodule_checks
from cardiozoo.testing.model import check_model, model_checks

__all__ = ["check_datamodule", "check_model", "datamodule_checks", "make_batch", "model_checks"]
