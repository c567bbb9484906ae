"""A real SMTP server, as small as RFC 5321 allows: it takes mail and remembers it."""

import socketserver
import threading
from types import TracebackType
from typing import Self


class MailServer:
    """Start it with `with`. `refusing` makes it answer every sender with 451."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.refusing = False
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.say("220 ready")
                recipient = ""
                while line := self.rfile.readline().decode().strip():
                    verb = line.split(" ")[0].split(":")[0].upper()
                    if verb == "QUIT":
                        self.say("221 bye")
                        return
                    if verb == "RCPT":
                        recipient = line.split("<")[1].split(">")[0]
                    if verb == "DATA":
                        self.say("354 go on")
                        server.messages.append((recipient, self.content()))
                    refused = verb == "MAIL" and server.refusing
                    self.say("451 come back later" if refused else "250 fine")

            def content(self) -> str:
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line.decode())
                return "".join(lines)

            def say(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

        return Handler
