"""Order per key through the retry topics, against a model of their logs, with crashes anywhere."""

from collections import defaultdict

from headrace_messaging.retry.keys import KeysInRetry, Turn
from hypothesis import given, settings
from hypothesis import strategies as st

LEVELS = 3


class World:
    """A source partition and its retry partitions: logs, committed positions, and one member that owns them all."""

    def __init__(self, keys):
        self.logs = [[(key, offset) for offset, key in enumerate(keys)], *([] for _ in range(LEVELS))]
        self.committed = [0] * (LEVELS + 1)
        self.ended = set()
        self.attempts = []
        self.crash()

    def crash(self):
        """Begin again from what is committed, as the next owner does."""
        self.position = list(self.committed)
        self.keys = KeysInRetry()
        for level in range(1, LEVELS + 1):
            for key, offset in self.logs[level][self.committed[level] :]:
                self.keys.enter(key, offset, level)

    def commit(self, level):
        """Commit one partition."""
        self.committed[level] = self.position[level]

    def take(self, level, succeeds):
        """Let the next message of a level come up; False where there is none."""
        if self.position[level] == len(self.logs[level]):
            return False
        key, offset = self.logs[level][self.position[level]]
        turn = self.keys.turn(key, offset, level)
        if turn is Turn.HANDLE:
            self._handle(key, offset, level, succeeds)
        elif turn is not Turn.KNOWN:
            self._climb(key, offset, turn)
        self.keys.leave(key, offset, level)
        self.position[level] += 1
        return True

    def _handle(self, key, offset, level, succeeds):
        # Whatever is before it in its key has ended, or it would not be its turn.
        self.attempts.append((key, offset))
        assert {(key, other) for k, other in self.logs[0] if k == key and other < offset} <= self.ended
        if succeeds or level == LEVELS:
            self.ended.add((key, offset))
        else:
            self._climb(key, offset, level + 1)

    def _climb(self, key, offset, level):
        self.logs[level].append((key, offset))
        self.keys.enter(key, offset, level)


actions = st.one_of(
    st.tuples(st.just("take"), st.integers(0, LEVELS), st.booleans()),
    st.tuples(st.just("commit"), st.integers(0, LEVELS), st.none()),
    st.tuples(st.just("crash"), st.none(), st.none()),
)


@settings(max_examples=300)
@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=8), st.lists(actions, max_size=80))
def test_no_message_overtakes_another_of_its_key_and_none_is_lost(keys, history):
    """Whatever fails, wherever it crashes: first attempts come in the order of the source, and every message ends."""
    world = World(keys)
    for action, level, succeeds in history:
        if action == "take":
            world.take(level, succeeds)
        elif action == "commit":
            world.commit(level)
        else:
            world.crash()
    for level in range(LEVELS + 1):
        # In this order, level by level: nothing climbs any more but behind what waits further up.
        while world.take(level, succeeds=True):
            pass
    assert world.ended == set(world.logs[0])
    assert len(world.keys) == 0
    first = defaultdict(list)
    for key, offset in dict.fromkeys(world.attempts):
        first[key].append(offset)
    assert all(offsets == sorted(offsets) for offsets in first.values())


def test_a_key_without_a_retry_is_not_held_up():
    """Another key's trouble is not its own."""
    keys = KeysInRetry()
    keys.enter(b"a", 1, 1)
    assert keys.turn(b"b", 2, 0) is Turn.HANDLE
    assert keys.turn(b"a", 2, 0) == 1


def test_a_message_queues_behind_the_nearest_before_it():
    """With the oldest on the third level and the next on the first, the newest goes to the first."""
    keys = KeysInRetry()
    keys.enter(b"a", 1, 3)
    keys.enter(b"a", 2, 1)
    assert keys.turn(b"a", 3, 0) == 1
    assert keys.turn(b"a", 2, 1) == 3
    assert keys.turn(b"a", 1, 3) is Turn.HANDLE


def test_a_copy_that_a_crash_left_behind_is_known():
    """The message was acknowledged on a later level before the crash: nothing is to be done with the earlier copy."""
    keys = KeysInRetry()
    keys.enter(b"a", 1, 2)
    assert keys.turn(b"a", 1, 1) is Turn.KNOWN
    keys.leave(b"a", 1, 1)
    assert len(keys) == 1
