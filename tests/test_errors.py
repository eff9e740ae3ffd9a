import pytest

from deo import errors
from deo.errors import BusyError, DeoError, MissingExtraError, did_you_mean, require


def test_errors__are_children_of_one_that_say_whether_to_try_again() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = [kind for kind in kinds if issubclass(kind, Exception)]
    assert len(ours) > 10
    assert all(issubclass(kind, DeoError) for kind in ours)
    assert [kind for kind in ours if kind("x").retriable] == [BusyError]
    assert DeoError("the network", retriable=True).retriable
    assert not BusyError("for good", retriable=False).retriable


def test_require__names_the_extra_and_hides_no_other_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert require("json", extra="geo").loads("1") == 1
    with pytest.raises(MissingExtraError, match=r'pip install "deo\[geo\]"'):
        require("no_such_module.inside", extra="geo")

    def fail(name: str) -> None:
        raise ModuleNotFoundError("No module named 'something_else'", name="something_else")

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(ModuleNotFoundError, match="something_else"):
        require("json", extra="geo")


def test_did_you_mean__the_nearest_or_all() -> None:
    assert did_you_mean("deo_swin_m", ["deo_swin_n", "deo_vit_b"]) == "did you mean 'deo_swin_n'?"
    assert did_you_mean("x", ["scene", "s2"]) == "choose one of scene, s2"
