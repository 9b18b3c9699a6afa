"""RoBERTa (Liu et al. 2019): BERT's names, one token type, positions counted from behind the padding's id."""

from dataclasses import replace

from headrace_inference.encoder_families import bert

FAMILY = replace(bert.FAMILY, title="RoBERTa", head_prefix="roberta.", positions_follow_padding=True)
