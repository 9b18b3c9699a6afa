"""The contracts of Headrace: generated stubs `headrace.<area>.v1` and the topics; no logic of any service."""
