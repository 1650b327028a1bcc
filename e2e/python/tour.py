"""A tour of the API through the Python client aetcd, with a check behind every step.

    python tour.py 127.0.0.1 2379
"""

import asyncio
import io
import sys

import aetcd

STEP_WAIT_S = 20


async def kv(client):
    await client.put(b"py/a", b"1")
    await client.put(b"py/b", b"2")
    found = await client.get(b"py/a")
    assert found.value == b"1" and found.version >= 1, found
    both = [item.key for item in await client.get_prefix(b"py/")]
    assert both == [b"py/a", b"py/b"], both
    assert await client.replace(b"py/a", b"1", b"3")
    assert not await client.replace(b"py/a", b"1", b"4")
    deleted = await client.delete_prefix(b"py/")
    assert deleted.deleted == 2, deleted
    assert await client.get(b"py/a") is None


async def txn(client):
    ops = client.transactions
    done, _ = await client.transaction(
        compare=[ops.version(b"py/txn") == 0],
        success=[ops.put(b"py/txn", b"made")],
        failure=[ops.get(b"py/txn")],
    )
    assert done
    done, answers = await client.transaction(
        compare=[ops.version(b"py/txn") == 0],
        success=[ops.put(b"py/txn", b"made again")],
        failure=[ops.get(b"py/txn")],
    )
    assert not done and len(answers) == 1, answers


async def watch(client):
    seen = []
    events = await client.watch_prefix(b"py/watch/")
    await client.put(b"py/watch/a", b"1")
    await client.delete(b"py/watch/a")
    async for event in events:
        seen.append((event.kind, event.kv.key))
        if len(seen) == 2:
            await events.cancel()
            break
    assert seen == [("PUT", b"py/watch/a"), ("DELETE", b"py/watch/a")], seen


async def lease(client):
    granted = await client.lease(60)
    await client.put(b"py/lease", b"x", lease=granted)
    assert await granted.granted_ttl() == 60
    assert await granted.keys() == [b"py/lease"]
    await granted.refresh()
    await granted.revoke()
    assert await client.get(b"py/lease") is None


async def lock(client):
    async with client.lock(b"py-lock", ttl=10) as held:
        assert await held.is_acquired()
        other = client.lock(b"py-lock", ttl=10)
        assert not await other.acquire(timeout=1)
    assert await other.acquire(timeout=5)
    assert await other.release()


async def maintenance(client):
    status = await client.status()
    assert status.version and status.leader, status
    members = await collect(client.members())
    assert members and members[0].name, members
    await client.defragment()
    copy = io.BytesIO()
    await client.snapshot(copy)
    assert copy.tell() > 0


async def collect(source):
    if hasattr(source, "__aiter__"):
        return [item async for item in source]
    return list(await source)


async def main(host, port):
    async with aetcd.Client(host=host, port=int(port)) as client:
        for step in (kv, txn, watch, lease, lock, maintenance):
            await asyncio.wait_for(step(client), STEP_WAIT_S)
            print(f"ok  {step.__name__}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
