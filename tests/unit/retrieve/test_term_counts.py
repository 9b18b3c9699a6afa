"""How often words occur is remembered, also by texts that come at the same time."""

import asyncio

from headrace_retrieve.adapters.term_counts import CACHED_TERMS_MAX, TERMS_MAX, TermCounts


async def of_length(word):
    """Count a word as its length."""
    return word, len(word)


async def test_a_word_is_counted_once():
    """What is asked again is remembered; a stop word has no term, and no count."""
    asked = []

    async def count(word):
        asked.append(word)
        return ("" if word == "the" else word, 3)

    counts = TermCounts()
    await counts.of("the river", 100, count)

    assert await counts.of("The River, the weir", 100, count) == {"river": 3, "weir": 3}
    assert asked == ["the", "river", "weir"]


async def test_a_store_that_grew_is_counted_again():
    """Within two hundredths of its size it is not."""
    counts = TermCounts()
    await counts.of("river", 100, of_length)

    async def grown(word):
        return word, 7

    assert await counts.of("river", 102, grown) == {"river": 5}
    assert await counts.of("river", 103, grown) == {"river": 7}


async def waits_with(counts, text):
    """Start to count a text of which a word is new; return its task, and what lets the count come."""
    may_come = asyncio.Event()

    async def in_time(word):
        await may_come.wait()
        return word, 1

    waiting = asyncio.create_task(counts.of(text, 100, in_time))
    await asyncio.sleep(0)
    return waiting, may_come


async def test_a_text_keeps_its_words_while_the_store_grows():
    """What was remembered is forgotten while it waits for a count."""
    counts = TermCounts()
    await counts.of("river", 100, of_length)
    waiting, may_come = await waits_with(counts, "river weir")

    await counts.of("lock", 200, of_length)
    may_come.set()

    assert await waiting == {"river": 5, "weir": 1}
    assert await counts.of("river weir", 200, of_length) == {"river": 5, "weir": 4}


async def test_a_text_keeps_its_words_while_others_make_room():
    """The same, where as many other words came as may be remembered."""
    counts = TermCounts()
    await counts.of("river", 100, of_length)
    waiting, may_come = await waits_with(counts, "river weir")

    for start in range(0, CACHED_TERMS_MAX, TERMS_MAX):
        await counts.of(" ".join(map(str, range(start, start + TERMS_MAX))), 100, of_length)
    may_come.set()

    assert await waiting == {"river": 5, "weir": 1}
