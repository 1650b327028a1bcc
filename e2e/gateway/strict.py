"""What a request on the way to an endpoint has to look like: HTTP/1.1 as RFC 9112 has it, read
with no kindness at all. Whatever two readers could understand in two ways is a fault.
"""

import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# The quotation mark and its like are no letters of a URI, but mean the same to everybody.
REQUEST_LINE = re.compile(rb"(%s) ([!-~]+) HTTP/1\.1" % TOKEN)
FIELD = re.compile(rb"(%s):[ \t]*(|[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)[ \t]*" % TOKEN)
# These belong to one connection, and the gateway's is another one (RFC 9110 section 7.6.1).
HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"upgrade"}
# No trailer may say this (RFC 9110 section 6.5.1).
FRAMING = {b"content-length", b"transfer-encoding", b"host"}


class Fault(Exception):
    """What is wrong; the kind is one of few words."""

    def __init__(self, kind, where):
        super().__init__(f"{kind}: {bytes(where)[:120]!r}")
        self.kind = kind


class Incomplete(Exception):
    """The bytes end before the request does; the fields, if its head has come."""

    def __init__(self, fields=None):
        super().__init__("incomplete")
        self.fields = fields


class Request:
    def __init__(self, method, target, fields):
        self.method, self.target, self.fields = method, target, fields
        self.body = b""

    def all_of(self, name):
        return [value for other, value in self.fields if other == name]

    def key(self):
        """What it comes to."""
        return (self.method, self.target, self.body)


def line(data, at, fields=None):
    """The line that begins there, and where the next one does."""
    end = data.find(b"\n", at)
    if end < 0:
        raise Incomplete(fields)
    text = data[at : end + 1]
    if not text.endswith(b"\r\n"):
        raise Fault("bare LF", text)
    if b"\r" in text[:-2]:
        raise Fault("bare CR", text)
    return text[:-2], end + 1


def fields_from(data, at, known=None):
    """Fields up to the empty line, and where it ends."""
    fields = []
    while True:
        text, at = line(data, at, known)
        if not text:
            return fields, at
        if text[:1] in b" \t":
            raise Fault("folded field", text)
        matched = FIELD.fullmatch(text)
        if not matched:
            raise Fault("malformed field", text)
        fields.append((matched[1].lower(), matched[2]))


def framing(request):
    """`None` for chunks, else how many bytes the body has."""
    for name in sorted(FRAMING):
        if len(request.all_of(name)) > 1:
            raise Fault(f"several {name.decode()}", b"")
    if not request.all_of(b"host"):
        raise Fault("no host", request.target)
    lengths, codings = request.all_of(b"content-length"), request.all_of(b"transfer-encoding")
    if lengths and codings:
        raise Fault("length and chunks", lengths[0])
    if codings:
        if codings[0].lower() != b"chunked":
            raise Fault("coding", codings[0])
        return None
    if not lengths:
        return 0
    if not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise Fault("length", lengths[0])
    return int(lengths[0])


def chunks(data, at, fields):
    """A body in chunks, and where it ends."""
    body = b""
    while True:
        text, at = line(data, at, fields)
        if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", text):
            raise Fault("chunk size", text)
        size = int(text, 16)
        if size == 0:
            break
        if len(data) < at + size + 2:
            raise Incomplete(fields)
        if data[at + size : at + size + 2] != b"\r\n":
            raise Fault("chunk end", data[at + size :])
        body += data[at : at + size]
        at += size + 2
    trailers, at = fields_from(data, at, fields)
    for name, value in trailers:
        if name in FRAMING | HOP_BY_HOP:
            raise Fault("forbidden trailer", name + b": " + value)
    return body, at


def request_from(data, at):
    """The request that begins there, and where the next one does.

    Raises Incomplete or Fault."""
    text, at = line(data, at)
    matched = REQUEST_LINE.fullmatch(text)
    if not matched:
        raise Fault("request line", text)
    fields, at = fields_from(data, at)
    request = Request(matched[1], matched[2], fields)
    for name, value in fields:
        if name in HOP_BY_HOP:
            raise Fault("hop by hop", name + b": " + value)
        # Servers that make variables of fields can't tell these from those with hyphens.
        if b"_" in name and name.replace(b"_", b"-") in FRAMING:
            raise Fault("framing by another name", name + b": " + value)
    length = framing(request)
    if length is None:
        request.body, at = chunks(data, at, fields)
        return request, at
    if len(data) < at + length:
        raise Incomplete(fields)
    request.body = bytes(data[at : at + length])
    return request, at + length
