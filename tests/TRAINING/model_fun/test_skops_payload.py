"""Estimators come back from bytes that are always the same, and nothing else comes back from them."""

from __future__ import annotations

import os
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from CONFIG.errors import IntegrityError
from TRAINING.model_fun.skops_payload import dump, load

RIDGE = frozenset(["sklearn.linear_model._ridge.Ridge"])
X = np.random.default_rng(0).normal(size=(20, 3))


def fitted() -> Ridge:
    return Ridge().fit(X, X[:, 0])


def test_an_estimator_comes_back() -> None:
    model = fitted()
    np.testing.assert_array_equal(load(dump(model), RIDGE).predict(X), model.predict(X))


def test_the_same_model_gives_the_same_bytes() -> None:
    first, garbage, second = fitted(), [object() for _ in range(100)], fitted()
    assert dump(first) == dump(second)
    assert skops.io.dumps(first) != skops.io.dumps(second), "which skops alone does not promise"
    assert len(garbage) == 100


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (make_pipeline(StandardScaler(), Ridge()), "sklearn.pipeline.Pipeline by ObjectNode"),
        (FunctionTransformer(os.system), "posix.system by TypeNode"),
        (X[0].sum, "__main__.sum by TypeNode"),
    ],
    ids=["another class", "a function", "a method"],
)
def test_other_types_are_refused(model, told: str) -> None:
    """Although skops itself trusts the first."""
    payload = skops.io.dumps(model)
    with pytest.raises(IntegrityError, match="the payload holds types that its model does not have"):
        load(payload, RIDGE)
    with pytest.raises(IntegrityError, match=told.replace(".", r"\.")):
        load(payload, RIDGE)


def test_a_loader_under_an_allowed_name_is_refused() -> None:
    """A file may call a plain value what is built by a call."""
    with ZipFile(BytesIO(dump(fitted()))) as source:
        files = {name: source.read(name) for name in source.namelist()}
    files["schema.json"] = files["schema.json"].replace(b'"JsonNode"', b'"MethodNode"', 1)
    forged = BytesIO()
    with ZipFile(forged, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    with pytest.raises(IntegrityError, match="builtins.str by MethodNode"):
        load(forged.getvalue(), RIDGE)


@pytest.mark.parametrize("payload", [b"", b"PK", b"not an archive" * 9])
def test_what_is_no_archive_is_told(payload: bytes) -> None:
    with pytest.raises(IntegrityError, match="not an archive of skops"):
        load(payload, RIDGE)
