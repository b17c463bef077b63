"""A real SLURM of one node on the loopback interface, for as long as the tests that ask for it.

Its programs find it by SLURM_CONF. It is made anew for each module of tests, which takes a second, so that the
processes of pytest-xdist need not share one.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol", "scancel", "srun")
PATIENCE = 60.0  # [s]


def why_not() -> str:
    """Why there can be no cluster here; empty if there can."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "slurmd starts jobs for others, which needs root"


@dataclass
class Cluster:
    """A cluster that runs."""

    folder: Path

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    def ask(self, *command: str, patience: float = PATIENCE) -> str:
        """What a program of SLURM prints."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def jobs(self, *states: str) -> dict[str, int]:
        """The elements in the queue, in these states or all, with the ids of their jobs."""
        told = self.ask("squeue", "--noheader", "--array", "--format=%i %A %T").splitlines()
        found = [line.split() for line in told]
        return {name: int(number) for name, number, state in found if not states or state in states}

    def clear(self) -> None:
        """End all jobs, those of a test that failed among them."""
        self.ask("scancel", "--user=root")
        _wait_for(lambda: not self.jobs(), self.folder)

    def start_at_once(self) -> None:
        """Spare what was requeued the two minutes that SLURM lets it wait.

        Not within the second in which the node was told to end the job: that revokes what starts in it as well.
        """
        time.sleep(2.0)
        for number in self.jobs("PENDING").values():
            subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now"], capture_output=True)

    def process_of(self, job: int) -> int:
        """The process of a job that runs."""
        lines = self.ask("scontrol", "listpids", str(job)).splitlines()[1:]
        return next(pid for line in lines if "rnnlab" in _command_of(pid := int(line.split()[0])))

    def start_controller(self) -> None:
        subprocess.run(["slurmctld", "-f", self.conf], check=True)
        _wait_for(lambda: subprocess.run(["scontrol", "ping"], capture_output=True).returncode == 0, self.folder)

    def stop_controller(self) -> None:
        _end(self.folder / "slurmctld.pid")


def _command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


@contextmanager
def cluster(cpus: int = 4, **settings: str | int) -> Iterator[Cluster]:
    """A cluster whose programs are found through this process's environment.

    Args:
        cpus: that its node says it has.
        settings: lines of slurm.conf beside those that it takes.
    """
    if reason := why_not():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="rnnlab-slurm-", ignore_cleanup_errors=True) as name,
        pytest.MonkeyPatch.context() as patch,
    ):
        made = Cluster(Path(name))
        made.conf.write_text(_configuration(made.folder, cpus, settings))
        patch.setenv("SLURM_CONF", str(made.conf))
        (made.folder / "state").mkdir()
        (made.folder / "spool").mkdir()
        (made.folder / "munge.key").write_bytes(os.urandom(1024))
        (made.folder / "munge.key").chmod(0o600)
        made.folder.chmod(0o755)  # munged refuses a socket that others cannot reach
        files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munge.pid", "log-file": "munge.log",
                 "seed-file": "munge.seed"}  # fmt: skip
        options = [f"--{option}={made.folder / file}" for option, file in files.items()]
        try:
            subprocess.run(["munged", "--force", *options], check=True, capture_output=True)
            made.start_controller()
            subprocess.run(["slurmd", "-f", made.conf], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
            _wait_for(lambda: "idle" in made.ask("sinfo", "--noheader", "--format=%t"), made.folder)
            yield made
            made.clear()
        finally:
            for daemon in ("slurmd", "slurmctld", "munge"):
                _end(made.folder / f"{daemon}.pid")


def _configuration(folder: Path, cpus: int, settings: dict[str, str | int]) -> str:
    host, ports = socket.gethostname().partition(".")[0], _free_ports()
    lines = {
        "ClusterName": "tests", "SlurmctldHost": f"{host}(127.0.0.1)", "SlurmctldPort": ports[0],
        "SlurmdPort": ports[1],
        "AuthType": "auth/munge", "CryptoType": "crypto/munge", "AuthInfo": f"socket={folder}/munge.sock",
        "StateSaveLocation": f"{folder}/state", "SlurmdSpoolDir": f"{folder}/spool",
        "SlurmctldLogFile": f"{folder}/slurmctld.log", "SlurmdLogFile": f"{folder}/slurmd.log",
        "SlurmctldPidFile": f"{folder}/slurmctld.pid", "SlurmdPidFile": f"{folder}/slurmd.pid",
        "ProctrackType": "proctrack/linuxproc", "TaskPlugin": "task/none",  # neither needs cgroups
        "SelectType": "select/cons_tres", "SelectTypeParameters": "CR_Core",
        "SlurmUser": "root", "SlurmdUser": "root",
        "SlurmdParameters": "config_overrides",  # as many cores as we say
        "ReturnToService": 2, "MpiDefault": "none", "MailProg": "/bin/true", "KillWait": 20, "MessageTimeout": 30,
        "AccountingStorageType": "accounting_storage/none", "JobAcctGatherType": "jobacct_gather/none", **settings,
    }  # fmt: skip
    return "".join(f"{name}={value}\n" for name, value in lines.items()) + (
        f"NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=8000 State=UNKNOWN\n"
        f"PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP\n"
    )


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _wait_for(condition: object, folder: Path) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE
    while not condition():
        logs = "".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("slurm*.log"))
        assert time.monotonic() < deadline, f"the cluster never came to that\n{logs}"
        time.sleep(0.1)


def _end(pid_file: Path) -> None:
    """End the daemon that this file names, and wait for it."""
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
