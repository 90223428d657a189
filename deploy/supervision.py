"""The processes of VISA under supervisor: what runs, how it is stopped, and that it comes back when it is killed."""

import os
import resource
import shlex
import subprocess
import time
from pathlib import Path

from deploy.home import Home
from deploy.install import PYTHON, VENV
from deploy.steps import ROOT, Failed

BIN = VENV / "bin"
OPEN_FILES = 65536  # two for each desktop that somebody looks at
# A process gets SIGTERM when the one that started it dies, even by SIGKILL: nothing is left behind unwatched.
TIED = ["setpriv", "--pdeathsig", "TERM", "--"]


def site_programs(address: str, port: int) -> dict[str, list[str]]:
    """The four processes of ours, by name."""
    celery = [str(BIN / "celery"), "-A", "visa_site"]
    web = [str(BIN / "uvicorn"), "visa_site.asgi:application", "--host", address, "--port", str(port)]
    # Compressing pixels that are compressed already costs twenty times the relay's own work.
    web += ["--ws", "desktops.server:DirectSocket", "--ws-per-message-deflate", "false", "--lifespan", "on"]
    web += ["--ws-max-size", str(1024 * 1024)]  # what a page may say at once; browsers cut a long paste into pieces
    web += ["--loop", "uvloop", "--http", "desktops.server:GatheredRequests"]
    web += ["--timeout-graceful-shutdown", "3", "--no-access-log"]
    return {
        "web": web,
        "worker": [*celery, "worker", "--concurrency", "4", "--loglevel", "INFO", "--without-mingle"],
        "beat": [*celery, "beat", "--loglevel", "INFO", "--pidfile", ""],
        "observer": [str(PYTHON), "manage.py", "observe_hosts"],
    }


def write_redis_configuration(home: Home) -> Path:
    """Redis on a private unix socket, no port; what is queued is on the disk within a second."""
    data = home.path / "redis"
    data.mkdir(mode=0o700, exist_ok=True)
    lines = ["port 0", f'unixsocket "{home.run}/redis.sock"', "unixsocketperm 700", f'dir "{data}"']
    lines += ["daemonize no", "appendonly yes", "appendfsync everysec", 'save ""', "maxmemory-policy noeviction"]
    path = home.run / "redis.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_configuration(home: Home, host_programs: dict[str, list[str]], site: dict[str, list[str]]) -> Path:
    """supervisord.conf: the host's daemons and Redis start at once and end last, the site's four when told."""
    redis = ["redis-server", str(write_redis_configuration(home))]
    sections = [_supervisor(home)]
    sections += [_program(home, name, command, priority=1, autostart=True) for name, command in host_programs.items()]
    sections.append(_program(home, "redis", redis, priority=2, autostart=True))
    sections += [_program(home, name, command, priority=3, autostart=False) for name, command in site.items()]
    sections.append(f"[group:site]\nprograms={','.join(site)}\npriority=3\n")
    path = home.run / "supervisord.conf"
    path.write_text("\n".join(sections))
    return path


def _supervisor(home: Home) -> str:
    return f"""[supervisord]
nodaemon=true
silent=true
logfile={_literal(home.log)}/supervisord.log
logfile_maxbytes=10MB
logfile_backups=3
pidfile={_literal(home.run)}/supervisord.pid
childlogdir={_literal(home.log)}

[unix_http_server]
file={_literal(home.run)}/supervisor.sock
chmod=0700

[supervisorctl]
serverurl=unix://{_literal(home.run)}/supervisor.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


def _program(home: Home, name: str, command: list[str], priority: int, autostart: bool) -> str:
    """One program: restarted whenever it ends; to stop it a TERM, and after 8 s a KILL to all its children."""
    return f"""[program:{name}]
command={_literal(shlex.join([*TIED, *command]))}
directory={_literal(ROOT)}
priority={priority}
autostart={str(autostart).lower()}
autorestart=true
startsecs=2
startretries=1000
stopsignal=TERM
stopwaitsecs=8
killasgroup={str(priority > 1).lower()}
redirect_stderr=true
stdout_logfile={_literal(home.log)}/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


def _literal(text: object) -> str:
    """supervisor expands %(names)s in its configuration."""
    return str(text).replace("%", "%%")


class Supervisor:
    """supervisord as our child. It holds the claim on VISA_HOME too, which so lasts until its programs stopped."""

    def __init__(self, home: Home, configuration: Path, environment: dict[str, str], claim: int) -> None:
        self.home = home
        self.configuration = str(configuration)
        (home.run / "supervisor.sock").unlink(missing_ok=True)  # of a supervisor that was killed
        with (home.log / "start.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*TIED, str(BIN / "supervisord"), "-c", self.configuration],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[claim],
                preexec_fn=_as_a_session_of_its_own,  # noqa: PLW1509 - we have one thread
            )

    def start_site(self) -> None:
        done = self._control("start", "site:*")
        if "ERROR" in done:
            raise Failed(f"Not everything could be started:\n{done}\nThe logs are in {self.home.log}.")

    def wait_for_redis(self, patience: float = 20.0) -> None:
        deadline = time.monotonic() + patience
        ping = ["redis-cli", "-s", str(self.home.run / "redis.sock"), "ping"]
        while subprocess.run(ping, capture_output=True, check=False).stdout.strip() != b"PONG":
            if time.monotonic() > deadline or not self.lives():
                raise Failed(f"Redis did not start. Its log is {self.home.log}/redis.log.")
            time.sleep(0.1)

    def lives(self) -> bool:
        return self.process.poll() is None

    def stop(self, patience: float = 60.0) -> None:
        """Ends all programs, the last started first. A second signal from the keyboard does not cut this short."""
        if self.lives():
            self.process.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()  # its programs get SIGTERM from the kernel

    def _control(self, *words: str) -> str:
        command = [str(BIN / "supervisorctl"), "-c", self.configuration, *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def _as_a_session_of_its_own() -> None:
    """Ctrl-C at the terminal is for us alone; and there are files enough for many desktops."""
    os.setsid()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(most, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
