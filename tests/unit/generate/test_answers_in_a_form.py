"""An answer whose form the caller lays down: all of it stands in the evidence or the form, or there is none."""

from dataclasses import replace

import pytest
from headrace_errors import Refused
from headrace_generate.domain import AttemptFailed, OutputConstraint, TokenUse, Written
from headrace_generate.entrypoints.grpc import GenerateServicer

SCHEMA = """{
  "type": "object",
  "properties": {"year": {"type": "integer"}, "kind": {"enum": ["built", "sold"]}, "open": {"type": "boolean"}}
}"""
IN_JSON = OutputConstraint("json_schema", SCHEMA)
YEAR = OutputConstraint("regex", "[0-9]{4}, for the World's Fair")


async def test_a_supported_document_is_the_answer_as_it_was_written(world, query):
    """Values from the evidence and choices that the schema offers; the citations are the evidence's."""
    world.engine.script = ['{"year": 1889, "kind": "built", "open": true}']
    attempt = await world.ask(replace(query, constraint=IN_JSON))
    assert attempt.draft.answer == world.engine.script[0]
    assert (attempt.draft.style, bool(attempt.draft.citations)) == ("written", True)
    assert world.engine.calls[0].constraint == IN_JSON


@pytest.mark.parametrize(
    "written",
    [
        '{"year": 1987, "kind": "built"}',
        '{"kind": "stolen"}',
        '{"year": 1889, "ki',
        '["Quarkley"]',
        '{"kind": "Quarkley", "kind": "built"}',
        "[" * 50_000,
    ],
)
async def test_what_has_no_support_is_no_answer(world, query, written):
    """An invented number or word, or a document cut short: billed, ended, and not tried again."""
    world.engine.script = [written]
    attempt = await world.ask(replace(query, constraint=IN_JSON))
    assert (attempt.draft, attempt.state, attempt.reason) == (None, "failed", "output_unsupported")
    assert (attempt.closing, attempt.used, len(world.engine.calls)) == (True, TokenUse(100, 10, 5), 1)


async def test_a_text_of_an_expression_is_held_to_the_same(world, query):
    """Its words stand in the evidence."""
    asked = replace(query, constraint=OutputConstraint("regex", "[0-9]{4}"))
    world.engine.script = ["1889"]
    assert (await world.ask(asked)).draft.answer == "1889"


@pytest.mark.parametrize("finish", ["length", "expired", "cancelled", "content_filter", "other"])
@pytest.mark.parametrize(("constraint", "beginning"), [(YEAR, "1889, for"), (IN_JSON, "1889")])
async def test_a_beginning_is_no_answer_though_it_looks_whole(world, query, finish, constraint, beginning):
    """Cut off by a limit: every word has support, the form is not there. Billed, ended, and not tried again."""
    used = TokenUse(100, 10)
    world.engine.script = [Written(beginning, finish, used)]
    attempt = await world.ask(replace(query, constraint=constraint))
    assert (attempt.draft, attempt.state, attempt.reason) == (None, "failed", "output_unfinished")
    assert (attempt.closing, attempt.used, len(world.engine.calls)) == (True, used, 1)


class MaskingRails:
    """Masks numbers in answers."""

    async def release(self, texts, *_about):
        return "****", *texts[1:]


async def test_an_answer_that_a_rail_would_change_has_not_the_form_asked_for(world, query):
    """Refused, with what it is; without a form the masked answer is shown."""
    world.engine.script = ["1889"]
    asked = replace(query, constraint=OutputConstraint("regex", "[0-9]{4}"))
    attempt = await world.ask(asked)
    servicer = GenerateServicer(answer=world.ask, journal=world.journal, rails=MaskingRails(), models=world)
    with pytest.raises(Refused) as refused:
        await servicer._completed(asked, attempt)
    assert refused.value.reason == "rail_form"
    assert (await servicer._completed(query, attempt)).answer == "****"


async def test_an_attempt_whose_engine_died_is_unknown_and_another_is_made(world, query):
    """Nobody knows how far it came: its reservation stays held, and the audit says so."""
    world.engine.script = [AttemptFailed("engine_crashed", used=TokenUse(9, 2, estimated=True), unknown=True), "no"]
    await world.ask(query)
    first, second = await world.attempts()
    assert (first.state, first.reason, second.state) == ("unknown", "engine_crashed", "completed")
