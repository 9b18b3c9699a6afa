"""How work reaches the use cases: events, calls, and the backlog of documents that wait to be parsed."""
