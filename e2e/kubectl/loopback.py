"""Brings loopback up in a network namespace that was just made (netdevice(7))."""

import fcntl
import socket
import struct

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1

with socket.socket() as asks:
    fcntl.ioctl(asks, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
