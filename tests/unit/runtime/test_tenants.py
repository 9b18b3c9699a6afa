"""Who may ask: declared tenants, their principals, and nobody else."""

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
