"""The command finds a platform that no supervisor of ours runs by the variables that its services have."""

from headrace_cli.remote import remote_platform


def test_without_a_bus_in_the_environment_there_is_none(monkeypatch):
    """Then the data-dir decides alone."""
    monkeypatch.delenv("HEADRACE_KAFKA__BOOTSTRAP", raising=False)
    assert remote_platform() is None


def test_it_is_where_the_environment_says(monkeypatch):
    """Bus, peers and tenants are those that the services have."""
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", "kafka:9092")
    monkeypatch.setenv("HEADRACE_KAFKA__MODE", "group")
    monkeypatch.setenv("HEADRACE_PEERS__METER", "meter:50051")
    monkeypatch.setenv("HEADRACE_TENANTS_FILE", "/etc/tenants.yaml")

    endpoints, tenants_file = remote_platform()

    assert (endpoints.bootstrap, dict(endpoints.services)) == ("kafka:9092", {"meter": "meter:50051"})
    assert not endpoints.embedded
    assert str(tenants_file) == "/etc/tenants.yaml"
