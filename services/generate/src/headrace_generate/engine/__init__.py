"""The process that holds a local model: `python -m headrace_generate.engine`.

It reads requests as JSON lines from its standard input and writes events as JSON lines to its standard output. It has
no event loop, no network and no state; it dies with its parent. The other end is `adapters/engine_process.py`.
"""
