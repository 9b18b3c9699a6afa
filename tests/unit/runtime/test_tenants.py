"""Who may ask: declared tenants, their principals, and nobody else."""

from decimal import Decimal

import pytest
from headrace_runtime import Tenants


@pytest.fixture
def tenants(tmp_path):
    file = tmp_path / "tenants.yaml"
    file.write_text(
        "tenants:\n  closed: {principals: {alice: [staff]}, budget: {monthly: '5.00'}}\n"
        "  open: {open: true}\n  plain: {}\n"
    )
    return Tenants.load(file)


def test_a_declared_principal_holds_its_groups_and_everyone(tenants):
    """Groups come from the file, never from the message."""
    assert tenants.get("closed").principals_of("alice") == ("alice", "staff", "everyone")


def test_a_stranger_is_let_into_an_open_tenant_only(tenants):
    """With its own name and `everyone`, nothing more."""
    assert tenants.get("closed").principals_of("mallory") is None
    assert tenants.get("open").principals_of("mallory") == ("mallory", "everyone")


def test_an_asker_without_a_name_is_let_in_where_nobody_is_named(tenants):
    """A closed tenant that lists its principals admits those; leaving the name out is no way around the list."""
    assert tenants.get("closed").principals_of("") is None
    assert tenants.get("open").principals_of("") == ("everyone",)
    assert tenants.get("plain").principals_of("") == ("everyone",)


def test_a_group_is_no_principal(tenants):
    """Claiming a group's name as one's own gives nothing in a closed tenant."""
    assert tenants.get("closed").principals_of("staff") is None


def test_an_undeclared_tenant_is_unknown(tenants):
    """Fail closed."""
    assert tenants.get("other") is None


def test_a_wrong_file_is_named(tmp_path):
    """The error says which file and what."""
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: {a: {budgets: 3}}")
    with pytest.raises(ValueError, match=r"tenants\.yaml.*budgets"):
        Tenants.load(file)


BUDGETS = """
tenants:
  acme:
    budget: {monthly: "50.00"}
    budgets:
      - {period: day, amount: "5.00", feature: handbook-chat, principal: "*"}
      - {period: lifetime, amount: 20, model: gpt-5, limit: soft, thresholds_percent: [80, 100]}
  plain: {}
"""


def test_budgets_are_declared_by_scope_and_period(tmp_path):
    """The monthly one is short for all of a month; what an entry leaves out counts whatever it is."""
    file = tmp_path / "tenants.yaml"
    file.write_text(BUDGETS)
    tenants = Tenants.load(file)
    monthly, daily, lifetime = tenants.get("acme").budgets

    assert [one.name for one in (monthly, daily, lifetime)] == [
        "month",
        "day feature=handbook-chat principal=*",
        "lifetime model=gpt-5",
    ]
    assert (monthly.amount, monthly.hard, monthly.thresholds_percent) == (Decimal(50), True, (50, 80, 100))
    assert (lifetime.amount, lifetime.hard, lifetime.thresholds_percent) == (Decimal(20), False, (80, 100))
    assert tenants.get("plain").budgets == ()


def test_budgets_that_only_look_alike_are_two(tmp_path):
    """Their names tell a value with a space in it from two values."""
    file = tmp_path / "tenants.yaml"
    file.write_text("""tenants: {acme: {budgets: [
      {period: day, amount: 1, feature: "chat model=m"}, {period: day, amount: 1, feature: chat, model: m}]}}""")
    names = [budget.name for budget in Tenants.load(file).get("acme").budgets]
    assert names == ['day feature="chat model=m"', "day feature=chat model=m"]


@pytest.mark.parametrize("amount", ["9000001", "0.0000000000001", "-1", ".nan"])
def test_the_short_form_takes_the_amounts_that_the_long_one_does(tmp_path, amount):
    """What the ledger cannot hold is said here, by its place, and not when meter starts."""
    file = tmp_path / "tenants.yaml"
    file.write_text(f"tenants: {{acme: {{budget: {{monthly: {amount}}}}}}}")
    with pytest.raises(ValueError, match=r"tenants\.yaml: tenants\.acme\.budget\.monthly: "):
        Tenants.load(file)


@pytest.mark.parametrize(
    ("entries", "where", "what"),
    [
        ("{amount: 1}", r"budgets\[0\].period", "required"),
        ("{period: year, amount: 1}", r"budgets\[0\].period", "'day', 'month' or 'lifetime'"),
        ("{period: day, amount: 1}, {period: day, amount: -1}", r"budgets\[1\].amount", "greater than or equal to 0"),
        ("{period: day, amount: .nan}", r"budgets\[0\].amount", "finite"),
        ("{period: day, amount: 99999999999}", r"budgets\[0\].amount", "less than or equal to 9000000"),
        ("{period: day, amount: 1, endpoint: chat}", r"budgets\[0\].endpoint", "write generate, embed, or"),
        (
            "{period: day, amount: 1, key: alice}",
            r"budgets\[0\]",
            "'key' is not known here; known: period",
        ),
        ("{period: day, amount: 1, feature: ''}", r"budgets\[0\].feature", "at least 1"),
        ("{period: day, amount: 1, limit: none}", r"budgets\[0\].limit", "'hard' or 'soft'"),
        ("{period: day, amount: 1, thresholds_percent: [80, 50]}", r"budgets\[0\].thresholds_percent", "ascending"),
        ("{period: day, amount: 1, thresholds_percent: [0]}", r"budgets\[0\].thresholds_percent", "from 1 to 1000"),
        ("daily", r"budgets\[0\]", "a mapping is needed, like"),
        ("{period: day, amount: 1}, {period: day, amount: 2}", "tenants.acme", "'day' stands twice: keep one"),
        ("{period: month, amount: 1}", "tenants.acme", "'month' stands twice"),
    ],
)
def test_a_wrong_budget_is_named_by_its_place_with_what_would_be_right(tmp_path, entries, where, what):
    """Nothing starts on a budget that could mean something else than was meant."""
    file = tmp_path / "tenants.yaml"
    file.write_text(f"tenants: {{acme: {{budget: {{monthly: 1}}, budgets: [{entries}]}}}}")
    with pytest.raises(ValueError, match=rf"tenants\.yaml: .*{where}: .*{what}"):
        Tenants.load(file)
