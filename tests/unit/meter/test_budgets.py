"""What a budget counts, when it refuses, and what it tells: without the ledger."""

from decimal import Decimal

import pytest
from headrace_errors import QuotaExceeded
from headrace_meter.accounts import Account, opened
from headrace_meter.budgets import AccountKey, Budget, Purpose, accounts_for
from headrace_runtime import DeclaredBudget
from hypothesis import given
from hypothesis import strategies as st

DAY = "2026-11-21"
MONTH = AccountKey("acme", "2026-11")
PURPOSE = Purpose(tenant="acme", day=DAY, feature="chat", endpoint="generate", model="m", principal="alice")


def budget(period="month", amount=100, **fields) -> Budget:
    """Make a budget of acme."""
    return Budget(tenant="acme", period=period, amount_picos=amount, **fields)


@pytest.mark.parametrize(
    ("declared", "key"),
    [
        (budget(), MONTH),
        (budget("day"), ("acme", DAY, "day", "")),
        (budget("lifetime"), ("acme", "lifetime", "lifetime", "")),
        (budget(feature="chat"), ("acme", "2026-11", "month feature=chat", "")),
        (
            budget("day", model="m", feature="chat", endpoint="generate"),
            ("acme", DAY, "day feature=chat endpoint=generate model=m", ""),
        ),
        (budget("day", principal="*"), ("acme", DAY, "day principal=*", "principal=alice")),
        (
            budget(feature="*", model="m", principal="*"),
            ("acme", "2026-11", "month feature=* model=m principal=*", "feature=chat principal=alice"),
        ),
        (budget(feature="search"), None),
        (budget(feature="chat", principal="bob"), None),
        (budget("day", counted_from="2026-11-22"), None),
        (budget("day", counted_from=DAY), ("acme", DAY, "day", "")),
    ],
    ids=lambda value: value.name if isinstance(value, Budget) else "",
)
def test_a_budget_counts_what_matches_all_that_it_names(declared, key):
    """In the period of the day on which the attempt began; one that was declared later counts nothing of it."""
    assert declared.account_for(PURPOSE) == key


def test_who_has_no_name_is_nobody_of_each():
    """A budget for each principal by itself does not count what nobody is known to have asked."""
    assert budget(principal="*").account_for(Purpose(tenant="acme", day=DAY)) is None


def test_a_tenants_month_is_kept_without_any_budget():
    """It is always there, and has its budget when there is one."""
    assert dict(accounts_for(PURPOSE, [])) == {MONTH: None}
    whole, other = budget(), budget(feature="search")
    assert dict(accounts_for(PURPOSE, [whole, other])) == {MONTH: whole}


scopes = st.fixed_dictionaries({}, optional=dict.fromkeys(["feature", "model", "principal"], st.text(min_size=1)))


@given(scopes, scopes)
def test_budgets_have_one_name_only_if_they_count_the_same(one, other):
    """Whatever is in the values: spaces, quotes, signs of the name itself."""
    assert (budget(**one).name == budget(**other).name) == (one == other)


@given(scopes)
def test_a_budget_has_the_name_that_it_is_declared_by(scope):
    """What audit records of a change and what meter tells of its spending is found under one name."""
    declared = DeclaredBudget(period="day", amount=Decimal(1), scope=scope)
    assert declared.name == budget("day", **scope).name


@given(st.lists(st.integers(0, 60)), st.integers(0, 200))
def test_holds_never_pass_a_hard_budget(amounts, limit):
    """Whatever is asked for in whatever order, what is held and spent stays within it."""
    account = Account(*MONTH, spent_picos=min(20, limit))
    for amount in amounts:
        if account.committed_picos + amount <= limit:
            account = account.hold(amount, budget(amount=limit))
        else:
            with pytest.raises(QuotaExceeded):
                account.hold(amount, budget(amount=limit))
        assert account.committed_picos <= limit


def test_a_refusal_names_the_budget_whose_it_is_and_by_how_much():
    """Enough for whoever declared it to find it, and for whoever asked to know what is left."""
    daily = budget("day", amount=5 * 10**12, principal="*")
    account = Account(*daily.account_for(PURPOSE), spent_picos=4 * 10**12)
    with pytest.raises(QuotaExceeded) as refused:
        account.hold(2 * 10**12, daily)
    assert refused.value.reason == "budget_exceeded"
    assert refused.value.detail == (
        "budget 'day principal=*' (principal=alice) of acme for 2026-11-21: 4 of 5 is spent or held, 2 more is needed"
    )


def test_a_soft_budget_refuses_nothing_and_no_budget_tells_nothing():
    """One only tells, the other is no limit."""
    assert Account(*MONTH).hold(10**15, budget(hard=False)).reserved_picos == 10**15
    assert Account(*MONTH).hold(10**15, None).reserved_picos == 10**15


@given(st.lists(st.integers(0, 40)), st.integers(1, 100), st.sets(st.integers(1, 300), max_size=4))
def test_each_threshold_is_announced_once(amounts, limit, percents):
    """In order, each at most once, and all that were reached."""
    declared = budget(amount=limit, thresholds_percent=tuple(sorted(percents)))
    account, announced = Account(*MONTH), []
    for amount in amounts:
        account, crossed = account.spend(amount).announce(declared)
        announced += crossed
        account, again = account.announce(declared)
        assert again == ()

    reached = [percent for percent in sorted(percents) if sum(amounts) * 100 >= limit * percent]
    assert announced == (reached if sum(amounts) else [])


def test_accounts_open_with_what_was_spent_and_keep_what_is_held_and_told():
    """Spending is summed anew by what the budget counts; holds and announcements are the account's own."""
    daily = budget("day", feature="chat", counted_from=DAY)
    known = Account(*daily.account_for(PURPOSE), reserved_picos=3, spent_picos=99, announced_percent=80)
    other = Purpose(tenant="acme", day=DAY, feature="search")
    before = Purpose(tenant="acme", day="2026-11-20", feature="chat")

    (account,) = opened([daily], [(PURPOSE, 5), (PURPOSE, 2), (other, 11), (before, 13)], {known.key: known})

    assert (account.spent_picos, account.reserved_picos, account.announced_percent) == (7, 3, 80)
