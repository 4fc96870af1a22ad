"""Runs launch/tpu_pod.sh with a stand-in for gcloud, whose pod is two home folders.

Commands that the script sends over ssh run in a real bash, with a stand-in for Python.
"""

import os
import shlex
import shutil
import subprocess
import time

import pytest

from tests.launch import stand_ins
from tests.launch.stand_ins import calls
from tests.launch.tpu_site import MAKEFILE, POD, Site, flags
from tests.processes import ROOT


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    stand_ins.end_all(site.started, tmp_path)


class TestCommands:
    def test_create_requests_the_pod_and_waits_until_it_is_active(self, site):
        (site.folder / "comes").write_text("WAITING_FOR_RESOURCES PROVISIONING ACTIVE")
        _, err = site.run("create", "--spot", "--project=p 1", "--gcloud=--network=mine")
        (create,) = site.calls()
        assert create == [
            "create",
            "pod",
            "--zone=europe-west4-b",
            "--project=p 1",
            "--node-id=pod",
            "--accelerator-type=v5litepod-16",
            "--runtime-version=v2-alpha-tpuv5-lite",
            "--spot",
            "--network=mine",
        ]
        states = [line.rpartition(": ")[2] for line in err.splitlines()]
        assert states == ["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]

    @pytest.mark.parametrize(
        ("kind", "runtime"),
        [
            ("v6e-16", "v2-alpha-tpuv6e"),
            ("v5p-32", "v2-alpha-tpuv5"),
            ("v4-32", "tpu-ubuntu2204-base"),
        ],
    )
    def test_the_runtime_is_the_one_that_google_lists_for_the_type(self, site, kind, runtime):
        out, _ = site.run("create", f"--type={kind}", "--dry-run")
        assert f"--runtime-version={runtime}" in shlex.split(out)

    def test_a_pod_that_fails_is_an_error(self, site):
        (site.folder / "comes").write_text("WAITING_FOR_RESOURCES FAILED")
        _, err = site.run("create", status=1)
        assert err.splitlines()[-1] == "launch/tpu_pod.sh: pod is FAILED, and will not come"

    def test_setup_sends_the_last_commit_and_preserves_other_files(self, site):
        site.ready()
        worker = site.folder / "worker1" / "perceiver-jax"
        assert (worker / ".venv/bin/python").exists()
        (worker / "runs").mkdir()
        (worker / "launch" / "gone.sh").touch()  # stands in for a file that a commit removed
        (site.checkout / "Makefile").write_text(MAKEFILE + "# changed\n")
        _, err = site.run("setup", "--mount=touch mounted")
        assert "1 uncommitted changes stay here" in err
        assert (worker / "Makefile").read_text() == MAKEFILE
        assert (worker / "two words").exists()
        assert (worker / "runs").exists()
        assert not (worker / "launch" / "gone.sh").exists()
        assert (site.folder / "worker0" / "mounted").exists()
        installed = calls(site.folder, "python-of-checkout")
        assert [c[-4:] for c in installed] == [["-e", ".[train,tpu]", "-c", "constraints.txt"]] * 4

    def test_every_worker_gets_the_flags_unchanged(self, site):
        site.ready()
        site.run("train", "--", *flags(site))
        site.until(lambda: site.status() == ["done", "done"])
        assert site.trainings() == [["--distributed=cluster", *flags(site)]] * 2
        assert not list(site.folder.rglob("taken"))

    def test_stop_saves_and_ends_training(self, site):
        site.ends("wait")
        site.ready()
        site.run("train", "--", *flags(site))
        site.until(lambda: len(site.trainings()) == 2 and (site.folder / "waiting").exists())
        time.sleep(0.2)
        assert site.status() == ["running", "running"]
        out, _ = site.run("stop")
        assert out.count("has stopped: status 75") == 2
        assert calls(site.folder, "signals") == [["SIGTERM"]] * 2
        assert site.status() == ["stopped", "stopped"]
        assert len(site.trainings()) == 2

    def test_logs_follow_the_first_worker(self, site):
        out, _ = site.run("logs", "--dry-run")
        words = shlex.split(out)
        assert "--worker=0" in words
        assert words[-1] == "--command=tail -n 200 -F perceiver-train/log"

    def test_delete_reports_what_it_deletes_without_a_question(self, site):
        site.run("create")
        _, err = site.run("delete")
        assert err == (
            "deleting the pod pod in europe-west4-b, its workers and all that is on their disks\n"
        )
        assert site.calls()[-1] == [
            "delete",
            "pod",
            "--zone=europe-west4-b",
            "--force",
            "--quiet",
        ]


def test_a_dry_run_prints_the_commands_that_are_run(site):
    """A dry run itself runs nothing. The temporary file that setup sends may differ."""
    site.ends("wait")
    for command in ("create", "setup", "train", "status", "stop", "delete"):
        arguments = ["--", *flags(site)] if command == "train" else []
        before = calls(site.folder, "gcloud")
        out, _ = site.run(command, "--dry-run", *arguments)
        assert calls(site.folder, "gcloud") == before
        site.run(command, *arguments)
        run = calls(site.folder, "gcloud")[len(before) :]
        printed = [line for line in shlex.split(out, comments=False) if line != "gcloud"]
        if command == "setup":
            run, printed = run[1], printed[printed.index("ssh") - 3 :]
        else:
            run = [word for call in run for word in call]
        assert printed == run, command


def test_the_output_of_a_dry_run_is_valid_shell(site):
    site.ready()
    out, _ = site.run("train", "--dry-run", "--", *flags(site))
    assert not site.trainings()
    subprocess.run(["bash", "-c", out], env=site.environment, check=True, capture_output=True)
    site.until(lambda: site.status() == ["done", "done"])
    assert site.trainings() == [["--distributed=cluster", *flags(site)]] * 2


TRAIN = ["--", "--workdir=/mnt/a"]
USER_ERRORS = {
    "no command": ([], ["say what to do: create"]),
    "unknown command": (["make", "pod"], ["'make' is no command"]),
    "no name": (["create"], ["NAME"]),
    "an invalid name": (["create", "My Pod"], ["'My Pod' can't name a pod"]),
    "a name like a flag": (["create", "-x"], ["unknown option -x"]),
    "an extra word": (["stop", "pod", "now"], ["'now' is one word too many"]),
    "training's flags without --": (
        ["train", "pod", "--config=configs/digits.py"],
        ["unknown option --config=configs/digits.py", "behind --"],
    ),
    "flags behind -- of another command": (["setup", "pod", "--", "--x=1"], ["which has --x=1"]),
    "no workdir": (["train", "pod", "--", "--x=1"], ["--workdir=''"]),
    "a workdir that workers do not share": (
        ["train", "pod", "--", "--workdir", "runs/a"],
        ["--workdir='runs/a'", "share"],
    ),
    "a bucket": (["train", "pod", "--", "--workdir=gs://b/a"], ["--workdir='gs://b/a'"]),
    "--watch without a mount": (["train", "pod", "--watch", *TRAIN], ["--mount=COMMAND"]),
    "--watch with another command": (["stop", "pod", "--watch"], ["--watch belongs to train"]),
    "no zone": (["stop", "pod", "--zone="], ["--zone=ZONE (or TPU_POD_ZONE) is missing"]),
    "no type": (["create", "pod", "--type="], ["--type=TYPE (or TPU_POD_TYPE) is missing"]),
    "not a number": (["create", "pod", "--poll=soon"], ["--poll=soon is no number"]),
}


@pytest.mark.parametrize("name", USER_ERRORS)
def test_a_user_error_is_one_line(name, tmp_path):
    arguments, messages = USER_ERRORS[name]
    environment = stand_ins.install(tmp_path) | POD
    done = subprocess.run(
        [ROOT / "launch" / "tpu_pod.sh", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("launch/tpu_pod.sh: ")
    for words in messages:
        assert words in line
    assert not done.stdout
    assert not calls(tmp_path, "gcloud")


def test_a_machine_without_gcloud_is_an_error(tmp_path):
    environment = POD | {"PATH": str(tmp_path)}
    for tool in ("bash", "dirname", "mktemp", "rm"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    command = [shutil.which("bash"), ROOT / "launch" / "tpu_pod.sh", "stop", "pod"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == ("launch/tpu_pod.sh: there is no gcloud: install the Google Cloud CLI\n")


def test_help_shows_every_command_and_option():
    out = subprocess.check_output([ROOT / "launch" / "tpu_pod.sh", "--help"], text=True)
    for word in ("create", "setup", "train", "status", "logs", "stop", "delete"):
        assert f"launch/tpu_pod.sh {word}" in out
    script = (ROOT / "launch" / "tpu_pod.sh").read_text()
    for option in ("zone", "project", "type", "runtime", "mount", "poll", "gcloud"):
        assert f"--{option}=" in out
        assert f"    --{option}=*)" in script
    assert os.access(ROOT / "launch" / "tpu_pod.sh", os.X_OK)
