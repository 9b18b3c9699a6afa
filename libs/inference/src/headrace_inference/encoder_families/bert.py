"""BERT (Devlin et al. 2019): the names that the graph speaks."""

from headrace_inference.encoder_families.family import Family

FAMILY = Family(
    title="BERT",
    head_prefix="bert.",
    computed={"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False},
)
