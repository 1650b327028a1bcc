"""Sends gunicorn's corpus of requests through the gateway, and judges what comes out behind it.

python smuggling.py WEB PROXIED BACKEND CORPUS

WEB and PROXIED are listeners of the gateway, HOST:PORT; the latter expects the PROXY protocol.
Both lead everything to the address BACKEND, where this program listens. CORPUS is the folder
with valid/ and invalid/.

Each case has a connection of its own, and behind the case comes one more request, by which it
shows where the gateway believes that the case ends. Cases come from different addresses of the
loopback network, which the gateway passes on in X-Forwarded-For: so everything that reaches the
endpoint is known to be of one case, whenever it comes and on whichever connection.

At the end the same is done without a gateway, by something that passes on whatever it gets:
what is found there shows that this judge is able to find it.
"""

import collections
import re
import socket
import sys
import threading

import backend
import corpus
import strict

WAIT_S = 20
TEXT_LETTERS_MAX = 500
AFTER = b"GET /after HTTP/1.1\r\nHost: after.example\r\n"
CLOSE = b"Connection: close\r\n\r\n"
AFTER_KEY = (b"GET", b"/after", b"")

# Valid requests that the gateway refuses: how, and why that is right.
REFUSED = [
    (400, "more than `chunked` in Transfer-Encoding: endpoints differ in what they make of it",
     "025 025_line 029 030 rfc9112_smuggle_gzip_chunked_01 rfc9112_smuggle_te_identity_chunked_01"),
    (400, "a space before the colon (RFC 9112 section 5.1)", "028"),
    (400, "folded fields (RFC 9112 section 5.2)", "compat_obs_fold compat_obs_fold_huge"),
    (400, "a quotation mark in the query, which is no letter of a URI: hyper refuses it", "014"),
    (400, "a name and password in front of the host (RFC 9110 section 4.2.4)",
     "rfc9112_target_absolute_userinfo_01"),
    (400, "fewer bytes than its Content-Length says", "099"),
    (404, "it asks the server as a whole, and no route is for that",
     "rfc9112_target_asterisk_options_01"),
    (405, "CONNECT: the gateway is no tunnel to anywhere",
     "rfc9112_target_authority_connect_01 rfc9112_target_authority_ipv6_01"),
]  # fmt: skip

# Invalid requests that the gateway passes on, and why nobody can understand them in two ways.
PASSED = [
    ("a limit that gunicorn has and the gateway has not, or not so low",
     "006 007 008 010 011 012 017 limit_header_default_01"),
    ("gunicorn wants another form of method, but this is one (RFC 9110 section 9.1)", "003c"),
    ("what a client says of its scheme is replaced", "019"),
    ("fields that look like those that frame a request are left out", "040 chunked_07"),
    ("two Content-Types change nothing about where a request ends", "041"),
    ("trailers that may not be trailers are left out", "rfc9110_trailer_forbidden_cl_01"
     " rfc9110_trailer_forbidden_host_01 rfc9110_trailer_forbidden_te_01"),
    ("empty lines may come before a request (RFC 9112 section 2.2)", "rfc9112_leading_crlf_02"),
]  # fmt: skip

# Requests that are refused for what they ask and not for where they end: the next one on the
# connection is served.
GOES_ON = """042 rfc9112_target_asterisk_non_options_01 rfc9112_target_asterisk_options_01
    rfc9112_target_authority_non_connect_01 rfc9112_target_absolute_userinfo_01""".split()

# The bodies of those invalid requests that are passed on and have one.
BODIES = {
    "007": b'{"nom": "nom"}',
    "040": b"tricked",
    "chunked_07": b"hello world",
    "rfc9110_trailer_forbidden_cl_01": b"hello",
    "rfc9110_trailer_forbidden_host_01": b"hello",
    "rfc9110_trailer_forbidden_te_01": b"hello",
}

REFUSED = {name: status for status, _, names in REFUSED for name in names.split()}
PASSED = {name for _, names in PASSED for name in names.split()}

problems = []


def problem(case, text):
    problems.append(f"{case}: {text}")


class Attempt:
    """A case, the bytes of it that are sent, and what came back."""

    def __init__(self, case, data, source):
        self.case, self.data, self.source = case, data, source
        self.name = case.name.partition("/")[2]
        self.statuses, self.text = [], b""

    def send(self, address, ends=False):
        """Sends it all and reads until the other side closes, which it has to; `ends`: says that
        nothing more comes."""
        with socket.create_connection(address, WAIT_S, (self.source, 0)) as stream:
            try:
                stream.sendall(self.data + AFTER + (b"\r\n" if ends else CLOSE))
                if ends:
                    stream.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # It was closed before all was taken.
            try:
                while part := stream.recv(65536):
                    self.text += part
            except TimeoutError:
                problem(self, f"neither answered nor closed within {WAIT_S} s: {self.text!r}")
            except OSError:
                pass  # A reset is an end as well.
        self.statuses = list(statuses(self.text))

    def __str__(self):
        how = "" if self.data == self.case.data else " with a host"
        return f"{self.case.name}{how}"

    def wanted(self):
        """What may come of it: pairs of the requests that reach the endpoint and of the statuses
        of the answers. What has come so far chooses which refusal it is."""
        name = self.name
        requests = self.case.expected if self.case.is_valid else self.passed(name)
        if name in REFUSED or not requests:
            status = REFUSED.get(name, self.statuses[0] if self.statuses else 0)
            if not 400 <= status < 600:
                return [([], [])]
            if name in GOES_ON:
                return [([AFTER_KEY], [status, 200])]
            # Whoever sends on after the end may not get to read the answer.
            return [([], [status])] + ([] if self.case.is_valid else [([], [])])
        keys, told, all_of_them = [], [], []
        for method, target, body, has_host, closes in requests:
            if has_host or self.data != self.case.data:
                keys, told = keys + [(method, target, body)], told + [200]
            else:
                told = told + [400]
                # Its body may be read before the next request, or not at all.
                all_of_them += [(keys, told)] if body else []
        if closes:
            return [*all_of_them, (keys, told)]
        return [*all_of_them, (keys + [AFTER_KEY], told + [200])]

    def passed(self, name):
        """What an invalid request comes to that is passed on all the same."""
        if name not in PASSED:
            return []
        line = re.match(rb"\s*([^ ]+) ([^ ]+) HTTP/1.([01])\r\n", self.data)
        is_old = line[3] == b"0"
        has_host = is_old or re.search(rb"(?i)\r\nhost:", self.data) is not None
        return [(line[1], line[2], BODIES.get(name, b""), has_host, is_old)]


def statuses(text):
    """The statuses of the answers in a client's bytes; they have to be whole."""
    at = 0
    while at < len(text):
        head_end = text.find(b"\r\n\r\n", at)
        assert head_end > 0 and text.startswith(b"HTTP/1.", at), f"no answer: {text[at:]!r}"
        head = text[at:head_end].lower()
        length = re.search(rb"\r\ncontent-length: ([0-9]+)", head)
        assert length, f"an answer of unknown length: {head!r}"
        yield int(head.split()[1])
        at = head_end + 4 + int(length[1])
    assert at == len(text), f"an answer is cut off: {text!r}"


def source_of(number):
    return f"127.1.{number // 250}.{number % 250 + 1}"


def attempts(cases):
    made = []
    for case in cases:
        for data in dict.fromkeys([case.data, case.with_host()]):
            made.append(Attempt(case, data, source_of(len(made))))
    return made


def sources_told(fields):
    return [value.decode() for name, value in fields if name == b"x-forwarded-for"]


def judge(connections, seen, cut):
    """Reads all that came. Whole requests go to `seen`, and fields of broken off ones to `cut`,
    each by its source; gives the faults."""
    faults = []
    for connection in connections:
        data, at = connection.data, 0
        try:
            while at < len(data):
                request, at = strict.request_from(data, at)
                told = sources_told(request.fields)
                if len(told) != 1:
                    raise strict.Fault("source", request.target)
                seen[told[0]].append(request.key())
        except strict.Incomplete as incomplete:
            told = sources_told(incomplete.fields or [])
            if len(told) == 1:
                cut[told[0]] += 1
            else:
                faults.append(("half a head", data[at:], None))
        except strict.Fault as fault:
            told = re.search(rb"(?i)x-forwarded-for: ([0-9.]+)", data[at:])
            faults.append((fault.kind, data[at:], told and told[1].decode()))
    return faults


def through_the_gateway(made, web, proxied, endpoint):
    for attempt in made:
        attempt.send(proxied if attempt.case.is_proxied else web)
    endpoint.wait_for_the_end()
    seen, cut = collections.defaultdict(list), collections.Counter()
    names = {attempt.source: attempt for attempt in made}
    faults = judge(endpoint.connections, seen, cut)
    for kind, data, source in faults:
        problem(names.get(source, "somebody"), f"reached the endpoint, {kind}: {data[:300]!r}")
    # Where a header of the PROXY protocol says so, the source is another one, and the same for
    # several cases.
    wanted_of = collections.defaultdict(list)
    for attempt in made:
        answered = attempt.statuses
        wanted = attempt.wanted()
        keys = next((keys for keys, told in wanted if told == answered), None)
        if keys is None:
            problem(attempt, f"answered {answered}, not any of {[told for _, told in wanted]}")
            continue
        source = proxied_source(attempt)
        wanted_of[source] += keys
        # Only what is wrong with a body can be seen after its head has gone on.
        if cut[source] and 200 in answered:
            problem(attempt, "a request broke off on its way")
    # Behind a fault nobody knows any more what the endpoint got.
    for source in sorted(set(seen) | set(wanted_of)) if not problems else []:
        got, wanted = seen[source], wanted_of[source]
        if got != wanted:
            problem(names.get(source, source), f"the endpoint got {got}, not {wanted}")
    return sum(len(keys) for keys in seen.values())


def proxied_source(attempt):
    """Where it comes from, as the gateway is told."""
    if not (attempt.case.is_proxied and attempt.case.is_valid):
        return attempt.source
    v1 = re.match(rb"PROXY TCP4 ([0-9.]+) ", attempt.data)
    if v1:
        return v1[1].decode()
    family = socket.AF_INET if attempt.data[13] == 0x11 else socket.AF_INET6
    length = 4 if family == socket.AF_INET else 16
    return socket.inet_ntop(family, attempt.data[16 : 16 + length])


def read_all(stream):
    return b"".join(iter(lambda: stream.recv(65536), b""))


class Careless:
    """Something that passes on what it gets, and puts in the source."""

    def __init__(self, address):
        self.endpoint = address
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, (source, _) = self.listener.accept()
            with client, socket.create_connection(self.endpoint) as endpoint:
                told = rb"\1X-Forwarded-For: %s\r\n" % source.encode()
                endpoint.sendall(re.sub(rb"(HTTP/1\.[01]\r\n)", told, read_all(client)))
                endpoint.shutdown(socket.SHUT_WR)
                client.sendall(read_all(endpoint))


# What the corpus brings up where nobody keeps it from the endpoint.
KINDS = {
    "bare LF", "bare CR", "folded field", "malformed field", "request line", "no host",
    "several host", "several content-length", "several transfer-encoding",
    "length and chunks", "coding", "length", "chunk size", "forbidden trailer", "hop by hop",
    "framing by another name",
}  # fmt: skip


def without_a_gateway(made):
    """Checks the judge: it has to see all that nobody has kept from the endpoint."""
    endpoint = backend.Backend()
    careless = Careless(endpoint.address)
    for attempt in made:
        attempt.send(careless.address, ends=True)
    endpoint.wait_for_the_end()
    seen, cut = collections.defaultdict(list), collections.Counter()
    faults = judge(endpoint.connections, seen, cut)
    faulty = {source for _, _, source in faults}
    good = [
        attempt
        for attempt in made
        if attempt.source not in faulty
        and (seen[attempt.source], attempt.statuses) in attempt.wanted()
    ]
    kinds = {kind for kind, _, _ in faults}
    return good, kinds


def main():
    web, proxied, own = (backend.address_of(it) for it in sys.argv[1:4])
    cases = corpus.read(sys.argv[4])
    made = attempts(cases)
    count = through_the_gateway(made, web, proxied, backend.Backend(own))
    good, kinds = without_a_gateway(attempts(cases))
    if KINDS - kinds:
        problem("the judge", f"does not find {sorted(KINDS - kinds)} where nobody refuses it")
    for attempt in good:
        if not attempt.case.is_valid and not attempt.passed(attempt.name):
            problem("the judge", f"finds nothing wrong with {attempt} where nobody refuses it")
    # Nor does it find something wrong with everything.
    if not {"valid/002", "valid/018 with a host", "valid/pp_03"} <= {str(it) for it in good}:
        problem("the judge", f"finds only {[str(it) for it in good]} good")
    for text in problems:
        print(text[:TEXT_LETTERS_MAX])
    if problems:
        sys.exit(1)
    refused = sum(200 not in it.statuses for it in made)
    print(f"{len(cases)} cases, {len(made)} connections, {refused} of them refused;", end=" ")
    print(f"{count} requests at the endpoint, none ambiguous")


if __name__ == "__main__":
    main()
