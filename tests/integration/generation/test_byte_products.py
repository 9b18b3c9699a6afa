"""Bodies of 8-bit integers are made where the CPU multiplies them exactly, and refused elsewhere."""

from pathlib import Path

import pytest
from headrace_inference import byte_products
from headrace_inference.byte_products import bytes_multiply_exactly
from headrace_inference.engines import EngineConfig, open_engine
from headrace_inference.gguf_import import import_gguf
from headrace_inference.importing import write_manifest
from headrace_inference.model_errors import ImportFailed
from headrace_inference.store import ModelStore

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.exists(), reason="only Linux says what a CPU can")
def test_a_cpu_with_dot_products_of_bytes_is_exact():
    """The probe finds no fault where there is none; where nothing is stated, it may find either."""
    flags = CPUINFO.read_text("utf-8").split()
    assert bytes_multiply_exactly() or not {"avx512_vnni", "avx_vnni", "asimddp"}.intersection(flags)


@pytest.mark.parametrize("body", ["q4x", "int8"])
def test_a_body_that_would_write_wrong_text_is_refused(tiny_gguf, tmp_path, body):
    """With what to take instead; the exact body runs everywhere."""
    write_manifest(tiny_gguf, tmp_path / "manifests", name="mine", licence="MIT", body=body)
    store = ModelStore(tmp_path / "cache", model_dirs=[tmp_path / "manifests"])
    if body == "q4x" or bytes_multiply_exactly():
        assert store.ensure("mine").facts["variant"] == body
    else:
        with pytest.raises(ImportFailed, match="take `q4x`"):
            store.ensure("mine")


@pytest.mark.parametrize("body", ["q4x", "int8"])
def test_a_folder_of_bytes_from_another_machine_is_refused_where_they_saturate(tiny_gguf, tmp_path, monkeypatch, body):
    """A cache that was carried here, an image that was built elsewhere: the import's own check was made there."""
    monkeypatch.setattr(byte_products, "bytes_multiply_exactly", lambda: False)
    import_gguf(tiny_gguf, tmp_path, body)
    config = EngineConfig(str(tmp_path), end_tokens=(), slots=1, slot_tokens=16, threads=1)
    if body == "q4x":
        assert open_engine(config, lambda: 0.0).name == "slots"
    else:
        with pytest.raises(ImportFailed, match="import the model with the body `q4x`"):
            open_engine(config, lambda: 0.0)
