"""XLM-RoBERTa (Conneau et al. 2020): RoBERTa with another vocabulary, and its prefix, too."""

from dataclasses import replace

from headrace_inference.encoder_families import roberta

FAMILY = replace(roberta.FAMILY, title="XLM-RoBERTa")
