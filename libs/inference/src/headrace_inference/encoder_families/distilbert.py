"""DistilBERT (Sanh et al. 2019): no token types, and names of its own."""

from headrace_inference.encoder_families.family import Family

FAMILY = Family(
    title="DistilBERT",
    head_prefix="distilbert.",
    computed={"activation": "gelu"},
    layers="transformer.layer",
    parts={
        "attention.self.query": "attention.q_lin",
        "attention.self.key": "attention.k_lin",
        "attention.self.value": "attention.v_lin",
        "attention.output.dense": "attention.out_lin",
        "attention.output.LayerNorm": "sa_layer_norm",
        "intermediate.dense": "ffn.lin1",
        "output.dense": "ffn.lin2",
        "output.LayerNorm": "output_layer_norm",
    },
    settings={"num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"},
    epsilon=1e-12,
    token_types=False,
)
