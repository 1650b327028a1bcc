"""Gunicorn's corpus of requests, good and bad. Its files are read as data: nothing of them is
executed.

NAME.http holds the bytes with escapes, NAME.py tells what they mean.
"""

import ast
import pathlib
import re

# As tests/treq.py of the same package says: ends of lines in the file mean nothing.
ESCAPES = [(b"\n", b""), (b"\\r\\n", b"\r\n"), (b"\\0", b"\0"), (b"\\n", b"\n"), (b"\\t", b"\t")]
HEAD_LINE = re.compile(rb"[^\r\n]* HTTP/1\.1\r\n")
OUR_HOST = b"Host: corpus.example\r\n"


class Case:
    """One request, or some on one connection."""

    def __init__(self, path):
        self.name = f"{path.parent.name}/{path.stem}"
        self.is_valid = path.parent.name == "valid"
        self.data = unescaped(path.read_bytes())
        text = path.with_suffix(".py").read_text("utf-8")
        self.expected = expected(ast.parse(text)) if self.is_valid else []
        if "casefold_http_method" in text:
            # An option of gunicorn's. In HTTP a method's letters are what they are.
            self.expected[0].method = self.data.split(b" ")[0]
        is_proxied = re.search(r"""["']proxy_protocol["'], True""", text) is not None
        # A listener of ours either always has the header before a connection, or never.
        self.is_proxied = is_proxied and not self.data.startswith(b"GET ")

    def with_host(self):
        """The bytes with a Host wherever HTTP/1.1 wants one: without, that alone would be the
        reason to refuse them."""
        if not self.is_valid:
            has_host = re.search(rb"(?i)host\s*:", self.data)
            if has_host or self.is_proxied or b"\r\n" not in self.data:
                return self.data
            return self.data.replace(b"\r\n", b"\r\n" + OUR_HOST, 1)
        data, at = self.data, 0
        for request in self.expected:
            found = HEAD_LINE.search(data, at)
            if not found or request.version != (1, 1):
                continue
            at = found.end()
            if not request.has_host:
                data = data[:at] + OUR_HOST + data[at:]
        return data


class Expected:
    """A request that has to come out of the bytes."""

    def __init__(self, told):
        target = re.sub(r"#.*", "", told["uri"])
        if "://" in target:
            target = re.sub(r"^[a-z]+://[^/]*", "", target)
        self.method, self.target = told["method"].encode(), target.encode()
        body = told["body"]
        self.body = body if isinstance(body, bytes) else body.encode()
        self.version = told["version"]
        headers = [it for it in told["headers"] if it is not None]
        named = any(name == "HOST" for name, _ in headers)
        # HTTP/1.0 needs none.
        self.has_host = named or self.version == (1, 0)
        connection = [value.lower() for name, value in headers if name == "CONNECTION"]
        self.closes = "close" in connection or (
            self.version == (1, 0) and "keep-alive" not in connection
        )

    def __iter__(self):
        return iter((self.method, self.target, self.body, self.has_host, self.closes))


def unescaped(data):
    for written, meant in ESCAPES:
        data = data.replace(written, meant)
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda it: bytes([int(it[1], 16)]), data)


def value(node, names):
    """What an expression of the few forms that the corpus has stands for."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return names.get(node.id)
        case ast.Dict():
            return {value(k, names): value(v, names) for k, v in zip(node.keys, node.values)}
        case ast.List():
            return [value(it, names) for it in node.elts]
        case ast.Tuple():
            return tuple(value(it, names) for it in node.elts)
        case ast.Call(func=ast.Name(id="uri"), args=[target]):
            return value(target, names)
        case ast.Call(func=ast.Attribute(attr="decode" | "encode" | "replace" as what) as of):
            return getattr(value(of.value, names), what)(*(value(it, names) for it in node.args))
    raise AssertionError(f"the corpus has a new form: {ast.dump(node)}")


def expected(module):
    names = {}
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="Config"))):
                pass
            case ast.Assign(targets=[ast.Name(id=name)]):
                names[name] = value(statement.value, names)
    told = names["request"]
    return [Expected(it) for it in (told if isinstance(told, list) else [told])]


def read(folder):
    """All of it, by name."""
    cases = [Case(path) for path in sorted(pathlib.Path(folder).glob("*valid/*.http"))]
    counts = [sum(it.is_valid == kind for it in cases) for kind in (True, False)]
    # The pinned release has so many; fewer would mean that something was not read.
    assert counts == [62, 81], f"{counts} valid and invalid requests"
    return cases
