"""A StatsD server that keeps what it hears: one UDP socket, by the protocol's own text."""

import socketserver


class Listener(socketserver.UDPServer):
    """Takes packets on a free port of the loopback.

    Attributes:
        heard: (name, value, type) of each line, in the order of arrival; types are g, c and ms.
    """

    def __init__(self) -> None:
        self.heard = list[tuple[str, float, str]]()
        super().__init__(("127.0.0.1", 0), _Packet)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def of(self, name: str) -> list[float]:
        """All values of a name, its tags left off."""
        return [value for heard, value, _ in self.heard if heard.split(",")[0] == name]


class _Packet(socketserver.BaseRequestHandler):
    server: Listener

    def handle(self) -> None:
        for line in self.request[0].decode().splitlines():
            name, _, rest = line.rpartition(":")
            value, kind = rest.split("|")[:2]
            self.server.heard.append((name, float(value), kind))
