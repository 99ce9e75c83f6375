"""A child process that runs one engine and answers line by line; see engines.py for the lines."""

import json
import os
import subprocess
import time
from pathlib import Path

# No downloads, no GPU.
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}


def busy_seconds():
    """CPU time that the machine, or its host, spent on anything since it started; None where there is no /proc."""
    try:
        user, nice, system, _, _, irq, softirq, steal, *_ = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except (OSError, ValueError):
        return None
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf("SC_CLK_TCK")


class Child:
    """Started and loaded on entry, ended on exit."""

    def __init__(self, name, command):
        self.name = name
        self.command = command

    def __enter__(self):
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **ENVIRONMENT}
        )
        self.version = self.answer("start")["ready"]
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def since_start(self):
        return time.perf_counter() - self.started

    def ask(self, *words):
        line = " ".join(map(str, words))
        try:
            print(line, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # it ended; its missing answer says so
        return self.answer(line)

    def answer(self, question):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: `{self.name}` ended with {self.process.wait()} at `{question}`")
        return json.loads(line)

    def cpu_seconds(self):
        """Since its start, all threads, in steps of 10 ms; None where there is no /proc."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        except OSError:
            return None
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
