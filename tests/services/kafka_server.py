"""Apache Kafka as operators run it: one broker in KRaft mode on free ports of loopback, with a folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final, Self

JARS: Final = Path(__file__).parent / "kafka" / "jars"
CLUSTER: Final = "MkU3OEVBNTcwNTJENDM2Qg"
PATIENCE: Final = 60.0
JAVA: Final = ("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class KafkaServer:
    """One broker, which can be killed and started anew at the same place."""

    def __init__(self, **properties: str) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="trustgate-kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        controller = free_port()
        usual = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "logs"),
            "num.partitions": "3",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        self._config = self.folder / "server.properties"
        self._config.write_text("".join(f"{name}={value}\n" for name, value in (usual | properties).items()))

    @property
    def brokers(self) -> str:
        """Where it is."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._run("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._config))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, and wait until it takes part."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*JAVA, "kafka.Kafka", str(self._config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log[-3000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """End it without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Let it hang."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    @property
    def log(self) -> str:
        """What it says."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([*JAVA, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr
