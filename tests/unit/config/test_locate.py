import sys
import types

import pytest

from nautilus_ext.config.locate import Unlocatable, locate


@pytest.fixture
def lazy_module(monkeypatch):
    """A module that imports its parts only when they are asked for."""
    module = types.ModuleType("lazy_desk")
    module.__all__ = ["Momentum", "Broken"]

    def part(name):
        if name == "Broken":
            raise ImportError("no engine here")
        if name == "Momentum":
            return dict
        raise AttributeError(name)

    module.__getattr__ = part
    monkeypatch.setitem(sys.modules, "lazy_desk", module)


@pytest.mark.usefixtures("lazy_module")
def test_a_name_that_a_module_resolves_late_is_found():
    """Also when nothing of that name stands in the module yet."""
    assert dict is locate("lazy_desk:Momentum", kind=dict)


@pytest.mark.usefixtures("lazy_module")
def test_a_part_that_cannot_be_imported_is_one_line():
    """Not a traceback that asks for a report."""
    with pytest.raises(Unlocatable, match="importing lazy_desk:Broken fails: ImportError: no engine here"):
        locate("lazy_desk:Broken")


@pytest.mark.usefixtures("lazy_module")
def test_a_misspelt_late_name_gets_the_nearest():
    """From what the module says that it has."""
    with pytest.raises(Unlocatable, match='did you mean "lazy_desk:Momentum"'):
        locate("lazy_desk:Momentun")
