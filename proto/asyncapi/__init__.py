"""Writes docs/asyncapi.yaml from the topics, the messages and the envelope that the code itself uses."""
