"""An endpoint that keeps every byte that it gets, and answers each request in it.

python backend.py HOST:PORT        to run it by itself
"""

import socket
import sys
import threading
import time

import strict

TEXT = b"an answer of some length\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(TEXT), TEXT)
WAIT_S = 30


class Connection:
    """One connection, and all that came on it."""

    def __init__(self, stream):
        self.stream = stream
        self.data = b""
        self.is_open = True

    def serve(self):
        answered_to = 0
        while True:
            try:
                part = self.stream.recv(65536)
            except OSError:
                part = b""
            if not part:
                break
            self.data += part
            try:
                while True:
                    _, answered_to = strict.request_from(self.data, answered_to)
                    self.stream.sendall(ANSWER)
            except strict.Incomplete:
                pass
            except (strict.Fault, OSError):
                # An endpoint that reads on regardless; judged is what it got.
                answered_to = len(self.data)
                try:
                    self.stream.sendall(ANSWER)
                except OSError:
                    pass
        self.stream.close()
        self.is_open = False


class Backend:
    def __init__(self, address=("127.0.0.1", 0)):
        self.listener = socket.create_server(address, backlog=128)
        self.address = self.listener.getsockname()
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            connection = Connection(stream)
            self.connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True).start()

    def wait_for_the_end(self):
        """Until nobody has a connection any more, so that nothing more can come."""
        end = time.monotonic() + WAIT_S
        while any(it.is_open for it in self.connections):
            assert time.monotonic() < end, f"connections are open after {WAIT_S} s"
            time.sleep(0.01)


def address_of(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    Backend(address_of(sys.argv[1]))
    threading.Event().wait()
