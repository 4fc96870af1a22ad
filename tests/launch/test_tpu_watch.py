"""Runs `launch/tpu_pod.sh train --watch`, which finishes a run despite preempted pods."""

import subprocess
import time

import pytest

from tests.launch import stand_ins
from tests.launch.tpu_site import Site, flags


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    stand_ins.end_all(site.started, tmp_path)


def watch(site, **options):
    mount = f"--mount=echo mounted >> {site.folder}/mounts"
    return site.start("train", "--watch", "--spot", mount, "--", *flags(site), **options)


def end(process, status):
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, out + err
    return err


def test_a_preempted_pod_is_requested_again_until_the_run_is_done(site):
    site.ends("wait", "wait", "0")
    watching = watch(site)
    site.until(lambda: len(site.trainings()) == 2)
    # Preemption ends the machines and training on them.
    for worker in ("worker0", "worker1"):
        pid = (site.folder / worker / "perceiver-train" / "pid").read_text()
        subprocess.run(["kill", "-KILL", "--", f"-{pid.strip()}"], check=True)
    (site.folder / "states").write_text("SUSPENDING\nSUSPENDED")
    err = end(watching, 0)
    assert "the run is done" in err
    verbs = [call[0] for call in site.calls() if call[0] != "ssh"]
    assert verbs == ["create", "scp", "delete", "create", "scp"]
    assert [c for c in site.calls() if c[0] == "create"][1][-1] == "--spot"
    assert (site.folder / "mounts").read_text().count("mounted") == 4
    assert site.trainings() == [["--distributed=cluster", *flags(site)]] * 4


def test_a_user_error_ends_the_watch_with_its_status(site):
    site.ends("2")
    err = end(watch(site), 2)
    assert "the run failed with status 2" in err.splitlines()[-1]
    assert len(site.trainings()) == 2


def test_a_run_stopped_by_hand_stays_stopped(site):
    site.ends("wait")
    watching = watch(site)
    site.until(lambda: len(site.trainings()) == 2 and (site.folder / "waiting").exists())
    time.sleep(0.2)
    site.run("stop")
    assert "stopped by launch/tpu_pod.sh stop" in end(watching, 75)


def test_a_new_watch_continues_with_a_running_run(site):
    """The watching machine was switched off: nothing is sent or started again."""
    site.ends("wait")
    site.ready()
    site.run("train", "--", *flags(site))
    site.until(lambda: len(site.trainings()) == 2)
    sent = len([call for call in site.calls() if call[0] == "scp"])
    watching = watch(site)
    site.until(lambda: len(site.calls()) > 6)
    site.run("stop")
    end(watching, 75)
    assert len([call for call in site.calls() if call[0] == "scp"]) == sent
    assert len(site.trainings()) == 2


def test_another_run_on_the_pod_is_not_touched(site):
    site.ends("wait")
    site.ready()
    site.run("train", "--", "--workdir=/other")
    site.until(lambda: len(site.trainings()) == 2)
    err = end(watch(site), 2)
    assert "already trains, with --distributed=cluster --workdir=/other" in err
    assert "already trains something else" in err.splitlines()[-1]
    assert site.status() == ["running", "running"]
    site.run("stop")


def test_the_watch_gives_up_on_a_pod_that_always_fails(site):
    (site.folder / "comes").write_text("FAILED")
    err = end(watch(site), 1)
    assert "5 failures in a row" in err.splitlines()[-1]
    assert len([call for call in site.calls() if call[0] == "create"]) <= 6
