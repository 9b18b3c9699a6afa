"""What can go wrong between a model's name and a folder that runs.

ModelStoreError
├── UnknownModel      no manifest declares this name
├── InvalidManifest   a manifest does not say what it must
├── DownloadFailed    the source could not be fetched
├── HashMismatch      bytes are not the ones that the manifest promises
├── ImportFailed      the importer refused the source
├── QualityLost       a quantised variant is not good enough on this host
├── BrokenModel       an imported folder does not open, or does not compute vectors
├── NoGpu             a GPU was asked for and cannot be had
└── StoreBusy         another process held the model's lock for too long

Every message says what to do next. These arise at start-up and in commands, never while a request is served.
"""


class ModelStoreError(Exception):
    """Any failure of the model store; `reason` is a stable snake_case code."""

    reason = "model_store"


class UnknownModel(ModelStoreError):
    """No manifest declares this model."""

    reason = "unknown_model"


class InvalidManifest(ModelStoreError):
    """A manifest is malformed; the message names the file and the key."""

    reason = "invalid_manifest"


class DownloadFailed(ModelStoreError):
    """The source could not be fetched: offline, no such version, or no installer at hand."""

    reason = "download_failed"


class HashMismatch(ModelStoreError):
    """Fetched or stored bytes differ from the declared sha256. Nothing of them is used."""

    reason = "hash_mismatch"


class ImportFailed(ModelStoreError):
    """The source is genuine, but the importer cannot turn it into a model folder."""

    reason = "import_failed"


class BrokenModel(ModelStoreError):
    """An imported folder cannot be run: damaged after its import, or not what it says."""

    reason = "broken_model"


class QualityLost(ModelStoreError):
    """A quantised variant differs too much from fp32 on this host."""

    reason = "quality_lost"


class NoGpu(ModelStoreError):
    """No GPU, no driver, or an onnxruntime without CUDA."""

    reason = "no_gpu"


class StoreBusy(ModelStoreError):
    """Another process imports the same model and did not finish within the wait."""

    reason = "store_busy"
