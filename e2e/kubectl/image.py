"""Makes a small image of a static busybox, and pushes it to a registry or saves it.

    image.py BUSYBOX REGISTRY NAME:TAG        REGISTRY is HOST:PORT, by plain HTTP
    image.py BUSYBOX FOLDER/ NAME:TAG         as FOLDER/saved.tar, like `docker save` in its older
                                              form, and FOLDER/layout, an OCI image layout whose
                                              index says the tag alone

The image runs as the user `web` in /work and prints what it sees; it is asked to end by SIGUSR1.
"""

import gzip
import hashlib
import io
import json
import os
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


def made(busybox):
    """The image: its layers, and its config."""
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
    return layers, config


def manifest(layers, config):
    """The manifest, and all that it leads to."""
    oci = "application/vnd.oci.image."
    blobs = [config] + [sent for _, sent in layers]
    kinds = ["config.v1+json"] + ["layer.v1.tar+gzip"] * len(layers)
    described = [
        {"mediaType": oci + kind, "digest": digest(blob), "size": len(blob)}
        for kind, blob in zip(kinds, blobs)
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": oci + "manifest.v1+json",
        "config": described[0],
        "layers": described[1:],
    }
    return json.dumps(document).encode(), document["mediaType"], blobs


def push(registry, name, layers, config):
    repository, tag = name.rsplit(":", 1)
    base = f"http://{registry}/v2/{repository}"

    def ask(method, url, content=None, kind=None):
        request = urllib.request.Request(url, data=content, method=method)
        if kind:
            request.add_header("Content-Type", kind)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.headers

    content, kind, blobs = manifest(layers, config)
    for blob in blobs:
        where = ask("POST", base + "/blobs/uploads/", b"")["Location"]
        joined = "&" if "?" in where else "?"
        ask("PUT", f"{where}{joined}digest={digest(blob)}", blob, "application/octet-stream")
    ask("PUT", f"{base}/manifests/{tag}", content, kind)
    print(digest(content))


def save(folder, name, layers, config):
    files = [(f"{number}/layer.tar", plain) for number, (plain, _) in enumerate(layers)]
    listed = [{"Config": "config.json", "RepoTags": [name], "Layers": [path for path, _ in files]}]
    files += [("config.json", config), ("manifest.json", json.dumps(listed).encode())]
    plain, _ = layer([(path, tarfile.REGTYPE, content) for path, content in files])
    os.makedirs(f"{folder}/layout/blobs/sha256")
    with open(f"{folder}/saved.tar", "wb") as file:
        file.write(plain)
    content, kind, blobs = manifest(layers, config)
    tag = {"org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}
    described = {"mediaType": kind, "digest": digest(content), "size": len(content)}
    index = {"schemaVersion": 2, "manifests": [{**described, "annotations": tag}]}
    files = [("index.json", json.dumps(index).encode())]
    files += [("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')]
    files += [("blobs/sha256/" + digest(blob)[7:], blob) for blob in [content] + blobs]
    for path, blob in files:
        with open(f"{folder}/layout/{path}", "wb") as file:
            file.write(blob)
    print(digest(content))


def main(busybox, where, name):
    layers, config = made(busybox)
    if where.endswith("/"):
        save(where.rstrip("/"), name, layers, config)
    else:
        push(where, name, layers, config)


if __name__ == "__main__":
    main(*sys.argv[1:])
