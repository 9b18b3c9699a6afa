"""A tiny model, declared for the store and for the service."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from headrace_inference.store import ModelStore
from headrace_testkit.tiny_encoders import declare_tiny_bert, write_tiny_bert


@pytest.fixture
def serve_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelStore]:
    """Give what declares it, with keys of its manifest changed, and makes it the one that embed's settings name."""

    def declare(*, dims: int = 16, **changes: Any) -> ModelStore:
        weights = write_tiny_bert(tmp_path / "weights", dims=dims)
        manifests = declare_tiny_bert(tmp_path / "manifests", weights, dims=dims, **changes)
        monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", "nowhere:0")
        monkeypatch.setenv("HEADRACE_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("HEADRACE_MODELS_DIR", str(manifests))
        monkeypatch.setenv("HEADRACE_EMBED__MODEL", "tiny")
        return ModelStore()

    return declare
