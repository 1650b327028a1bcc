"""Makes a small image of a static busybox, and pushes it to a registry.

    image.py BUSYBOX REGISTRY NAME:TAG        REGISTRY is HOST:PORT, by plain HTTP

The image runs as the user `web` in /work and prints what it sees; it is asked to end by SIGUSR1.
"""

import gzip
import hashlib
import io
import json
import platform
import sys
import tarfile
import urllib.request

SCRIPT = (
    'trap "echo bye; exit 0" USR1; '
    "echo $GREETING from $(id -un) in $(pwd), process $$; "
    "while :; do sleep 0.1; done"
)
APPLETS = ["sh", "cat", "id", "sleep", "ls", "hostname", "touch", "wget", "grep", "wc", "nslookup", "httpd", "ip"]


def layer(entries):
    """A layer of (path, kind, content), as the plain tar and what is sent."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for path, kind, content in entries:
            info = tarfile.TarInfo(path)
            info.type = kind
            info.mode = 0o755
            if kind == tarfile.SYMTYPE:
                info.linkname = content
                tar.addfile(info)
            elif kind == tarfile.DIRTYPE:
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return plain.getvalue(), gzip.compress(plain.getvalue(), mtime=0)


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def main(busybox, registry, name):
    repository, tag = name.rsplit(":", 1)
    base = f"http://{registry}/v2/{repository}"

    def ask(method, url, content=None, kind=None):
        request = urllib.request.Request(url, data=content, method=method)
        if kind:
            request.add_header("Content-Type", kind)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.headers

    def push(content):
        where = ask("POST", base + "/blobs/uploads/", b"")["Location"]
        joined = "&" if "?" in where else "?"
        target = f"{where}{joined}digest={digest(content)}"
        ask("PUT", target, content, "application/octet-stream")
        return {"digest": digest(content), "size": len(content)}

    with open(busybox, "rb") as program:
        entries = [("bin/busybox", tarfile.REGTYPE, program.read())]
    entries += [(f"bin/{applet}", tarfile.SYMTYPE, "busybox") for applet in APPLETS]
    layers = [
        layer(entries + [("hidden", tarfile.REGTYPE, b"below\n")]),
        layer(
            [
                ("etc/passwd", tarfile.REGTYPE, b"web:x:1234:1234::/work:/bin/sh\n"),
                ("work", tarfile.DIRTYPE, None),
                (".wh.hidden", tarfile.REGTYPE, b""),
            ]
        ),
    ]
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
            "os": "linux",
            "config": {
                "Entrypoint": ["/bin/sh", "-c"],
                "Cmd": [SCRIPT],
                "Env": ["PATH=/bin", "GREETING=hello"],
                "WorkingDir": "/work",
                "User": "web",
                "StopSignal": "SIGUSR1",
            },
            "rootfs": {"type": "layers", "diff_ids": [digest(plain) for plain, _ in layers]},
        }
    ).encode()
    oci = "application/vnd.oci.image."
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci + "manifest.v1+json",
        "config": {"mediaType": oci + "config.v1+json", **push(config)},
        "layers": [
            {"mediaType": oci + "layer.v1.tar+gzip", **push(sent)} for _, sent in layers
        ],
    }
    content = json.dumps(manifest).encode()
    ask("PUT", f"{base}/manifests/{tag}", content, manifest["mediaType"])
    print(digest(content))


if __name__ == "__main__":
    main(*sys.argv[1:])
