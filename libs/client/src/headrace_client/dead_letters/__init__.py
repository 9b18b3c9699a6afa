"""Dead letters as their operators see them: list, look into, replay, drop. Every decision is audited.

Writing them is libs/messaging's.
"""

from headrace_client.dead_letters.desk import DeadLetterDesk, Replay
from headrace_client.dead_letters.letters import DeadLetter, Decision, Wanted

__all__ = ["DeadLetter", "DeadLetterDesk", "Decision", "Replay", "Wanted"]
