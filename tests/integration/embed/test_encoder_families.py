"""Every family of BERT-type encoders computes what its weights mean: compared with plain numpy, number by number."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from headrace_inference.encoder_families import FAMILIES
from headrace_inference.model_errors import ImportFailed
from headrace_inference.onnx_encoder import OnnxEncoder
from headrace_inference.safetensors_file import read_floats
from headrace_inference.store import ModelStore
from headrace_testkit import tiny_encoders
from headrace_testkit.encoder_reference import embed_reference
from headrace_testkit.tiny_encoders import POSITIONS, declare_tiny_bert, write_tiny_encoder

TEXTS = [
    "the river leads water to the mill",
    "stone",
    "",
    "grain " * 50,
    "water, 水車 and café",
    "the <pad> river <pad>",
]
TOKENS_MAX = {"roberta": POSITIONS - 2, "xlm-roberta": POSITIONS - 2}
HEADS = {"bert": "bert.", "roberta": "roberta.", "xlm-roberta": "roberta.", "distilbert": "distilbert."}
every_family = pytest.mark.parametrize("family", tiny_encoders.FAMILIES)


def encoder_of(folder: Path, weights: Path, family: str, variant: str = "fp32", **changes) -> OnnxEncoder:
    """Import the weights under a manifest with these changes."""
    declared = {"dims": 32, "max_tokens": TOKENS_MAX.get(family, POSITIONS)} | changes
    manifests = declare_tiny_bert(folder / "manifests", weights, **declared)
    return OnnxEncoder(ModelStore(folder / "cache", model_dirs=[manifests]).ensure("tiny"), variant)


def change_config(weights: Path, **changes) -> None:
    """Rewrite keys of config.json; None takes one out."""
    path = weights / "config.json"
    config = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}), "utf-8")


def test_every_family_is_tried_here():
    """One that is added to the list is added to these tests."""
    assert set(FAMILIES) == set(tiny_encoders.FAMILIES)


@every_family
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("dims", [32, 12])
def test_vectors_are_what_numpy_makes_of_the_weights(tmp_path, family, pooling, dims):
    """To 1e-5 a number: short, empty, cut, foreign, and a text that spells the padding."""
    weights = write_tiny_encoder(tmp_path / "weights", family, heads=4, dims=32)
    encoder = encoder_of(tmp_path, weights, family, dims=dims, options={"pooling": pooling})
    tensors = read_floats(weights / "model.safetensors")
    config = json.loads((weights / "config.json").read_text("utf-8"))
    tokens = encoder.tokenize(TEXTS)
    expected = [embed_reference(tensors, config, one.ids, pooling=pooling, dims=dims) for one in tokens]
    np.testing.assert_allclose(encoder.encode(tokens), expected, atol=1e-5)
    assert [one.truncated for one in tokens][3]
    assert max(len(one.ids) for one in tokens) == TOKENS_MAX.get(family, POSITIONS)


@every_family
@pytest.mark.parametrize("variant", ["fp32", "w8", "w8a8"])
def test_a_vector_does_not_depend_on_its_batch(tmp_path, family, variant):
    """Alone, together and in another order: to 1e-6."""
    weights = write_tiny_encoder(tmp_path / "weights", family, heads=4, dims=32)
    encoder = encoder_of(tmp_path, weights, family, variant)
    tokens = encoder.tokenize(TEXTS)
    together = encoder.encode(tokens)
    alone = np.concatenate([encoder.encode([one]) for one in tokens])
    assert np.abs(together - alone).max() <= 1e-6
    assert np.abs(together - encoder.encode(tokens[::-1])[::-1]).max() <= 1e-6


@every_family
def test_the_file_of_a_model_with_a_head_is_read_too(tmp_path, family):
    """Its tensors have the family's prefix; the vectors are the same."""
    vectors = []
    for head in ("", HEADS[family]):
        folder = tmp_path / f"head-{head}"
        weights = write_tiny_encoder(folder / "weights", family, dims=32, head=head)
        encoder = encoder_of(folder, weights, family)
        vectors.append(encoder.encode(encoder.tokenize(TEXTS)))
    np.testing.assert_array_equal(*vectors)


@every_family
def test_texts_longer_than_the_positions_are_not_promised(tmp_path, family):
    """RoBERTa's table has two rows that no token gets: 514 of them mean 512 tokens."""
    weights = write_tiny_encoder(tmp_path / "weights", family, dims=32)
    tokens_max = TOKENS_MAX.get(family, POSITIONS)
    with pytest.raises(ImportFailed, match=f"exceeds the model's {tokens_max} positions; lower it"):
        encoder_of(tmp_path, weights, family, max_tokens=tokens_max + 1)
    change_config(weights, max_position_embeddings=10 * POSITIONS)
    with pytest.raises(ImportFailed, match=f"exceeds the weights' {tokens_max} positions; lower it"):
        encoder_of(tmp_path, weights, family, max_tokens=tokens_max + 1)


def test_the_padding_s_id_is_the_models_own(tmp_path):
    """A config without one means RoBERTa's; another one moves the positions."""
    weights = write_tiny_encoder(tmp_path / "weights", "roberta", dims=32)
    before = encoder_of(tmp_path, weights, "roberta")
    change_config(weights, pad_token_id=None)
    without = encoder_of(tmp_path, weights, "roberta")
    tokens = before.tokenize(TEXTS[1:3])
    np.testing.assert_array_equal(before.encode(tokens), without.encode(tokens))
    change_config(weights, pad_token_id=3)
    moved = encoder_of(tmp_path, weights, "roberta", max_tokens=POSITIONS - 4)
    assert np.abs(moved.encode(tokens) - before.encode(tokens)).max() > 1e-3


def test_an_unknown_architecture_is_refused_with_those_that_are_known(tmp_path):
    """The message is the list to choose from."""
    weights = write_tiny_encoder(tmp_path / "weights", "bert", dims=32)
    change_config(weights, model_type="mpnet")
    with pytest.raises(ImportFailed, match=r"'mpnet'; there are: bert, distilbert, roberta, xlm-roberta"):
        encoder_of(tmp_path, weights, "bert")


@pytest.mark.parametrize(
    ("family", "change"),
    [("distilbert", {"activation": "relu"}), ("roberta", {"hidden_act": "relu"}), ("bert", {"is_decoder": True})],
)
def test_what_the_graph_would_not_compute_is_refused(tmp_path, family, change):
    """Each family's own word for it is read."""
    weights = write_tiny_encoder(tmp_path / "weights", family, dims=32)
    change_config(weights, **change)
    with pytest.raises(ImportFailed, match="only, not"):
        encoder_of(tmp_path, weights, family)


def test_a_missing_tensor_is_named_as_the_family_names_it(tmp_path):
    """Whoever looks into the file finds that name missing there."""
    weights = write_tiny_encoder(tmp_path / "weights", "distilbert", dims=32)
    change_config(weights, n_layers=3)
    with pytest.raises(ImportFailed, match=r"lack 'transformer\.layer\.2\.attention\.q_lin\.weight'.*DistilBERT"):
        encoder_of(tmp_path, weights, "distilbert")


def test_the_files_of_two_families_do_not_pass_for_one(tmp_path):
    """A config of one beside the weights of another."""
    weights = write_tiny_encoder(tmp_path / "weights", "bert", dims=32)
    other = write_tiny_encoder(tmp_path / "other", "distilbert", dims=32)
    shutil.copyfile(other / "config.json", weights / "config.json")
    with pytest.raises(ImportFailed, match="not a DistilBERT encoder"):
        encoder_of(tmp_path, weights, "distilbert")


@every_family
def test_a_tokenizer_that_only_pads_does_not_begin_a_text(tmp_path, family):
    """What it fills up a text with is none of its ends."""
    weights = write_tiny_encoder(tmp_path / "weights", family, dims=32)
    path = weights / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    padding = {"strategy": {"Fixed": 8}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "x"}
    path.write_text(json.dumps(tokenizer | {"post_processor": None, "padding": padding | {"pad_to_multiple_of": None}}))
    with pytest.raises(ImportFailed, match="no first and last token"):
        encoder_of(tmp_path, weights, family)


@every_family
def test_a_tokenizer_that_does_not_begin_and_end_a_text_is_refused(tmp_path, family):
    """The model was trained with `<s>` or `[CLS]` in front: without it every vector would be another."""
    weights = write_tiny_encoder(tmp_path / "weights", family, dims=32)
    path = weights / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"post_processor": None}), "utf-8")
    with pytest.raises(ImportFailed, match="no first and last token"):
        encoder_of(tmp_path, weights, family)
