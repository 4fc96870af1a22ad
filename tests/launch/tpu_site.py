"""A checkout with the TPU launchers, and a stand-in for gcloud whose pod is two folders."""

import shutil
import subprocess
import time

from tests.launch import stand_ins
from tests.launch.stand_ins import calls
from tests.processes import ROOT

AWKWARD = ["two words", "'", '"', "$HOME", "`id`", "*", "; touch taken", "", "-n", "--", "a=b c"]
POD = {"TPU_POD_ZONE": "europe-west4-b", "TPU_POD_TYPE": "v5litepod-16", "TPU_POD_POLL": "0"}
MAKEFILE = """env:
	@mkdir -p .venv/bin && ln -sf "$$STAND_INS/programs/python-of-checkout" .venv/bin/python
"""
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]


class Site:
    """A committed checkout with the launch scripts, and a gcloud that makes pods next to it."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = stand_ins.install(folder) | POD
        self.checkout = folder / "checkout"
        (self.checkout / "launch").mkdir(parents=True)
        for name in ("tpu_pod.sh", "tpu_worker.sh"):
            shutil.copy(ROOT / "launch" / name, self.checkout / "launch" / name)
        (self.checkout / "Makefile").write_text(MAKEFILE)
        (self.checkout / "two words").touch()
        self.workdir = folder / "shared"
        self.started = []
        self.git("init", "--quiet")
        self.commit()

    def git(self, *arguments):
        subprocess.run([*GIT, *arguments], cwd=self.checkout, check=True)

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=x")

    def start(self, command, *arguments, name="pod", **environment):
        process = subprocess.Popen(
            [self.checkout / "launch" / "tpu_pod.sh", command, name, *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, command, *arguments, status=0, **options):
        process = self.start(command, *arguments, **options)
        out, err = process.communicate(timeout=60)
        assert process.returncode == status, out + err
        return out, err

    def ready(self):
        self.run("create")
        self.run("setup")

    def calls(self):
        """Returns verb and arguments of each call of gcloud, without queries of the pod's state."""
        return [argv[3:] for argv in calls(self.folder, "gcloud") if argv[3] != "describe"]

    def trainings(self):
        return [c[2:] for c in calls(self.folder, "python-of-checkout") if "pip" not in c]

    def ends(self, *lines):
        (self.folder / "ends").write_text("\n".join(lines))

    def until(self, condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, calls(self.folder, "gcloud")
            time.sleep(0.02)

    def status(self):
        out, _ = self.run("status")
        return [x.partition(": ")[2] for x in out.splitlines() if x.startswith("perceiver-train")]


def flags(site):
    return [f"--workdir={site.workdir}/a b", *AWKWARD]
