"""What was measured is found on the same host and model only; a variant that lost too much is never chosen."""

import pytest
from headrace_inference.host import Host, this_host
from headrace_inference.model_folder import ModelFolder
from headrace_inference.quality import Quality
from headrace_inference.tuning import Setting, Tuning, Tunings

HOST = Host("EPYC", ("avx2", "avx512_vnni"), 2)
RUNTIME = "1.31.0"
GOOD = Quality(cosine_mean=0.999, cosine_min=0.99, overlap_at_10=0.97, ndcg_lost=0.001)
SATURATED = Quality(cosine_mean=0.955, cosine_min=0.91, overlap_at_10=0.7, ndcg_lost=0.0)
BLIND = Quality(cosine_mean=0.995, cosine_min=0.99, overlap_at_10=0.9, ndcg_lost=0.01)
NONE = Quality(cosine_mean=float("nan"), cosine_min=float("nan"), overlap_at_10=0.0, ndcg_lost=0.0)


def folder(tmp_path, sha256="a" * 64) -> ModelFolder:
    """Name an imported model."""
    return ModelFolder("tiny", tmp_path, sha256, {})


def test_what_was_written_is_read_here_and_nowhere_else(tmp_path):
    """Another CPU, other cores, another model: nothing is known of it."""
    tuning = Tuning({"fp32": Setting(512, 2, 8000.0)}, {"w8": GOOD, "w8a8": BLIND}, {"w8a8": BLIND.refusal()})
    Tunings(tmp_path, HOST, RUNTIME).write(folder(tmp_path), tuning)
    assert Tunings(tmp_path, HOST, RUNTIME).read(folder(tmp_path)) == tuning
    for other in (Host("Xeon", HOST.flags, 2), Host("EPYC", ("avx2",), 2), Host("EPYC", HOST.flags, 4)):
        assert Tunings(tmp_path, other, RUNTIME).read(folder(tmp_path)) == Tuning()
    assert Tunings(tmp_path, HOST, RUNTIME).read(folder(tmp_path, "b" * 64)) == Tuning()


def test_another_version_of_the_runtime_knows_nothing_and_says_of_which_something_is_known(tmp_path):
    """Its kernels may be faster, or lose more: both are measured anew. Who goes back finds what was there."""
    before, after = (Tunings(tmp_path, HOST, runtime) for runtime in (RUNTIME, "1.32.0"))
    assert after.outdated(folder(tmp_path)) == ""
    before.write(folder(tmp_path), Tuning({"fp32": Setting(512, 2, 1.0)}, {"w8": GOOD}))
    assert after.read(folder(tmp_path)) == Tuning()
    assert (after.outdated(folder(tmp_path)), before.outdated(folder(tmp_path))) == (RUNTIME, "")
    assert after.add_quality(folder(tmp_path), "w8", BLIND) == Tuning(quality={"w8": BLIND})
    assert after.outdated(folder(tmp_path)) == RUNTIME, "quality alone is no tuning"
    after.write(folder(tmp_path), Tuning({"fp32": Setting(256, 2, 1.0)}))
    assert after.outdated(folder(tmp_path)) == ""
    assert before.read(folder(tmp_path)).settings["fp32"].batch_tokens_max == 512


def test_files_of_few_versions_are_kept(tmp_path):
    """Those that were written last."""
    for number in range(9):
        Tunings(tmp_path, HOST, f"1.{number}.0").write(folder(tmp_path), Tuning({"fp32": Setting(512, 2, 1.0)}))
    kept = [number for number in range(9) if Tunings(tmp_path, HOST, f"1.{number}.0").read(folder(tmp_path)).settings]
    assert len(kept) == 4
    assert 8 in kept


def test_a_file_of_an_older_release_is_outdated(tmp_path):
    """It names no version at all."""
    tunings = Tunings(tmp_path, HOST, RUNTIME)
    path = tunings.write(folder(tmp_path), Tuning())
    older = path.with_name(path.name.replace(f"-{RUNTIME}", ""))
    older.write_text('{"settings": {"fp32": {}}, "quality": {}}', "utf-8")
    assert tunings.read(folder(tmp_path)) == Tuning()
    assert "unknown" in tunings.outdated(folder(tmp_path))


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"settings": 1}', '{"settings": {"fp32": {}}, "quality": {}}'])
def test_a_damaged_file_is_as_none(tmp_path, damaged):
    """Tuning is a hint: a service starts without it."""
    tunings = Tunings(tmp_path, HOST, RUNTIME)
    path = tunings.write(folder(tmp_path), Tuning())
    path.write_text(damaged, "utf-8")
    assert tunings.read(folder(tmp_path)) == Tuning()


def test_quality_is_added_to_what_is_known(tmp_path):
    """A variant that a service compared joins what the tuner found."""
    tunings = Tunings(tmp_path, HOST, RUNTIME)
    tunings.write(folder(tmp_path), Tuning({"fp32": Setting(512, 2, 1.0)}))
    assert tunings.add_quality(folder(tmp_path), "w8", GOOD) == tunings.read(folder(tmp_path))
    assert tunings.read(folder(tmp_path)).settings["fp32"].batch_tokens_max == 512


def test_the_fastest_is_the_fastest_that_may_be_used():
    """Speed does not make up for quality."""
    settings = {name: Setting(512, 2, speed) for name, speed in (("fp32", 1.0), ("w8", 2.0), ("w8a8", 3.0))}
    assert Tuning(settings, {"w8": GOOD, "w8a8": GOOD}).fastest == "w8a8"
    for lost in (SATURATED, BLIND, NONE):
        assert Tuning(settings, {"w8": GOOD, "w8a8": lost}).fastest == "w8"
    assert Tuning().fastest == ""


def test_a_refusal_says_what_was_lost():
    """In the measure that decided."""
    assert GOOD.refusal() == ""
    assert "cosine 0.9550" in SATURATED.refusal()
    assert "nDCG@10 falls by 0.0100" in BLIND.refusal()
    assert NONE.refusal() != ""


def test_the_host_is_read_from_what_the_kernel_says(tmp_path):
    """Model and instructions; a machine that does not say has its architecture for a name."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 fma avx512_vnni\n", "utf-8")
    host = this_host(cpuinfo)
    assert (host.cpu, host.flags) == ("AMD EPYC", ("avx2", "fma", "avx512_vnni"))
    assert host.cores >= 1
    assert this_host(tmp_path / "absent").cpu


def test_a_host_has_no_more_cores_than_its_quota_pays_for(tmp_path):
    """A container with half a core has one, whatever the machine has; the tuning of one share is not of another."""
    membership = tmp_path / "membership"
    membership.write_text("0::/\n", "utf-8")
    (tmp_path / "cpu.max").write_text("50000 100000\n", "utf-8")
    whole = this_host(cgroups=tmp_path / "absent", membership=membership)
    assert this_host(cgroups=tmp_path, membership=membership).cores == 1
    (tmp_path / "cpu.max").write_text("900000000 100000\n", "utf-8")
    assert this_host(cgroups=tmp_path, membership=membership) == whole
