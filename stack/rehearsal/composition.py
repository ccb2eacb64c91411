"""docker-compose.yml as commands of this machine: what each service runs, with its places exchanged and nothing else.

Places are folders of the rehearsal for volumes, temporary file systems and mounted files, free ports of the loopback
interface for those that a service exposes, and this checkout for the one in the image.
"""

import re
import shlex
import socket
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stack.installation import REPOSITORY, StackError
from stack.processes import claim

FILE = REPOSITORY / "docker-compose.yml"
IN_IMAGE = "/opt/vitrine"  # where the images have the checkout
_VARIABLE = re.compile(r"\$\{(\w+):\?[^}]*\}|\$\$")


@dataclass(frozen=True)
class Service:
    """What stands in the file about one service, in the places of a rehearsal.

    Attributes:
        name: its name in the file.
        command: program and arguments; empty where the image alone knows them.
        environment: variables of the file.
        needs: services that are healthy, or have ended well, before this one starts.
        health: program and arguments that end with 0 once it is healthy; empty where it has no check.
        mounts: folder or file in the container -> the one here.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    needs: tuple[str, ...]
    health: tuple[str, ...]
    mounts: Mapping[str, Path]


class Composition:
    """The file, with the variables of an installation.

    Args:
        folder: everything that services write goes below it.
        variables: values for the file's variables, as .env has them.
        file: the file.

    Raises:
        StackError: a variable has no value.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str], file: Path = FILE) -> None:
        self.folder, self._variables = folder, variables
        self._read: dict[str, Service] = {}
        self._document: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        self._services: dict[str, Any] = self._document["services"]
        self.ports: dict[tuple[str, int], int] = {}
        for name, service in self._services.items():
            for port in service.get("expose", ()):
                self.ports[name, int(port)] = _free_port(self.ports.values())

    @property
    def names(self) -> tuple[str, ...]:
        """All services."""
        return tuple(self._services)

    def order(self, names: Iterable[str]) -> list[str]:
        """These services and all that they need, each after what it needs."""
        found: list[str] = []
        for name in names:
            if name not in found:
                needed = self.order(self._services[name].get("depends_on", ()))
                found += [one for one in (*needed, name) if one not in found]
        return found

    def service(self, name: str) -> Service:
        """One service. Its folders are made, and files of the checkout that it mounts are copied with their places.

        Raises:
            StackError: it names a port that the other service does not expose.
        """
        if name not in self._read:
            self._read[name] = self._service(name)
        return self._read[name]

    def _service(self, name: str) -> Service:
        told = self._services[name]
        mounts = self._mounts(name)
        for target, source in self._files(name).items():
            mounts[target].write_text(self._here(source.read_text(encoding="utf-8"), name, mounts), encoding="utf-8")
        check = told.get("healthcheck", {}).get("test", [])
        words = [*self._words(told.get("entrypoint", [])), *self._words(told.get("command", []))]
        return Service(
            name=name,
            command=tuple(self._here(word, name, mounts) for word in words),
            environment={key: self._here(self._given(str(value)), name, mounts)
                         for key, value in told.get("environment", {}).items()},
            needs=tuple(_needed(name, *entry) for entry in told.get("depends_on", {}).items()),
            health=tuple(self._here(self._given(word), name, mounts) for word in _shell(check)),
            mounts=mounts,
        )

    def _words(self, told: str | list[str]) -> list[str]:
        return shlex.split(self._given(told)) if isinstance(told, str) else [self._given(word) for word in told]

    def _given(self, text: str) -> str:
        """A text of the file with its variables filled in, as Compose does it."""
        def value(found: re.Match[str]) -> str:
            if found[0] == "$$":
                return "$"
            if found[1] not in self._variables:
                raise StackError(f"docker-compose.yml needs {found[1]}, and the rehearsal gives it no value: "
                                 "add it to stack/rehearsal/variables.py")
            return self._variables[found[1]]

        return _VARIABLE.sub(value, text)

    def _mounts(self, name: str) -> dict[str, Path]:
        """Path in the container -> path here, of everything that is not the image's."""
        told, own = self._services[name], self.folder / "services" / name
        mounts = {IN_IMAGE: REPOSITORY}
        for entry in told.get("tmpfs", ()):
            target = entry.partition(":")[0]
            mounts[target] = _folder(own / target.strip("/").replace("/", "-"))
        for entry in told.get("volumes", ()):
            source, target = self._given(entry).split(":")[:2]
            if source.startswith("./"):
                mounts[target] = _folder(own / "files") / Path(source).name
            else:
                mounts[target] = Path(source) if source.startswith("/") else _folder(self.folder / "volumes" / source)
        for secret in told.get("secrets", ()):
            mounts[f"/run/secrets/{secret}"] = Path(self._given(self._document["secrets"][secret]["file"]))
        return mounts

    def _files(self, name: str) -> dict[str, Path]:
        """Path in the container -> file of the checkout that is mounted there."""
        entries = [entry.split(":") for entry in self._services[name].get("volumes", ()) if entry.startswith("./")]
        return {target: REPOSITORY / source for source, target, *_ in entries}

    def _here(self, text: str, name: str, mounts: Mapping[str, Path]) -> str:
        """A text with the places of this rehearsal. All in one pass, so that no exchange meets another's result."""
        paths = "|".join(re.escape(path) for path in sorted(mounts, key=len, reverse=True))
        hosts = "|".join(re.escape(host) for host in sorted(self._services, key=len, reverse=True))
        own = "|".join(str(port) for service, port in self.ports if service == name) or "(?!)"
        pattern = re.compile(rf"(?<![\w/])(?P<path>{paths})(?![\w.-])|(?<![\w.-])(?P<host>{hosts}):(?P<port>\d+)(?!\d)"
                             rf"|(?<!\d)(?P<own>{own})(?!\d)|(?P<any>0\.0\.0\.0)")

        def here(found: re.Match[str]) -> str:
            if found["path"]:
                return str(mounts[found["path"]])
            if found["own"]:
                return str(self.ports[name, int(found["own"])])
            if found["any"]:
                return "127.0.0.1"
            place = found["host"], int(found["port"])
            if place not in self.ports:
                raise StackError(f"docker-compose.yml: {name} asks for {found[0]}, and {place[0]} does not expose "
                                 f"{place[1]}: add it to its `expose`")
            return f"127.0.0.1:{self.ports[place]}"

        return pattern.sub(here, text)


def _shell(check: list[str]) -> list[str]:
    """Words of a health check."""
    return ["/bin/sh", "-c", *check[1:]] if check[:1] == ["CMD-SHELL"] else check[1:]


def _needed(name: str, needed: str, rule: Mapping[str, str]) -> str:
    if rule["condition"] not in ("service_healthy", "service_completed_successfully"):
        raise StackError(f"docker-compose.yml: {name} waits for {needed} by {rule['condition']}, which a rehearsal "
                         "cannot: give what it needs a health check")
    return needed


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _free_port(taken: Collection[int]) -> int:
    """A port of the loopback interface that nobody on this machine has chosen: no other launcher, nor this one."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken and claim(port):
            return port
