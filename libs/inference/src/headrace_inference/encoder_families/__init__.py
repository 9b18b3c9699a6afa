"""The families of encoders that can be imported: a module each, with its own small table of names, and a line here."""

from collections.abc import Mapping

from headrace_inference.encoder_families import bert, distilbert, roberta, xlm_roberta
from headrace_inference.encoder_families.family import Family, Weights

__all__ = ["FAMILIES", "Family", "Weights"]

FAMILIES: Mapping[str, Family] = {  # by the `model_type` of config.json
    "bert": bert.FAMILY,
    "distilbert": distilbert.FAMILY,
    "roberta": roberta.FAMILY,
    "xlm-roberta": xlm_roberta.FAMILY,
}
