"""What the supervisor decides about processes and files."""

from headrace_cli.supervisor.child import RestartPolicy, bound_log, last_lines


def test_the_wait_before_a_restart_doubles_up_to_its_bound():
    """A crash loop does not burn the machine."""
    policy = RestartPolicy(backoff_min_s=0.2, backoff_max_s=10)
    assert [policy.backoff_s(failures) for failures in (0, 1, 2, 3, 20)] == [0.2, 0.2, 0.4, 0.8, 10]


def test_a_log_is_bounded_while_its_writer_appends(tmp_path):
    """The file starts again at nothing, the older part is kept once, and no line goes elsewhere."""
    log = tmp_path / "service.log"
    with log.open("ab") as writer:
        writer.write(b"x" * 1000)
        writer.flush()
        bound_log(log, bytes_max=100)
        writer.write(b"after\n")
        writer.flush()
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "service.log.1").stat().st_size == 1000


def test_the_last_lines_of_a_log(tmp_path):
    """A missing log has none; a long one gives its end."""
    assert last_lines(tmp_path / "none.log") == []
    (tmp_path / "one.log").write_text("\n".join(str(number) for number in range(100)))
    assert last_lines(tmp_path / "one.log", 3) == ["97", "98", "99"]
