"""Training stores behind a URL: a web server on this machine, and fsspec's store in memory."""
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import threading

import fsspec
import numpy as np
import pytest

from jepa_ros.errors import DatasetError
from jepa_ros.robot.dataset import remote
from jepa_ros.robot.dataset.remote import RemoteStore, url_of
from jepa_ros.robot.dataset.store import Store


class Server(SimpleHTTPRequestHandler):
    """Counts requests; the next `failures` of them fail."""

    asked: Counter = Counter()
    failures = 0

    def do_GET(self):
        Server.asked[self.path.removeprefix('/store/')] += 1
        if Server.failures > 0 and not self.path.endswith('.zattrs'):
            Server.failures -= 1
            self.send_error(503)
            return
        super().do_GET()

    def list_directory(self, path):     # many a server does not
        self.send_error(403)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(store, monkeypatch):
    """URL of a copy of the store."""
    monkeypatch.setattr(remote, '_PAUSE_S', 0)
    Server.asked, Server.failures = Counter(), 0
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Server, directory=str(store.path.parent))) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f'http://127.0.0.1:{http.server_port}/store'
        http.shutdown()
        thread.join()


@pytest.fixture
def memory(built):
    """URL of a copy of the store."""
    system = fsspec.filesystem('memory')
    system.put(str(built), '/stores/day', recursive=True)
    yield 'memory://stores/day'
    system.rm('/stores', recursive=True)


def assert_same(one, other) -> None:
    assert (one.episode_id, one.source) == (other.episode_id, other.source)
    for name in ('stamps_ns', 'actions', 'readouts'):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    for name in ('percepts', 'valid'):
        a, b = getattr(one, name), getattr(other, name)
        assert list(a) == list(b) and all(np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize('kind', ['server', 'memory'])
def test_episodes_are_those_of_the_store_here(request, kind, built, tmp_path):
    here, there = Store(built), RemoteStore(request.getfixturevalue(kind), tmp_path)
    assert there.hashes == here.hashes and there.episodes == here.episodes and there.contract == here.contract
    for one, other in zip(there.read_all(), here.read_all()):
        assert_same(one, other)


def test_nothing_is_fetched_that_is_not_read(server, tmp_path):
    there = RemoteStore(server, tmp_path)
    there.read(there.episodes[0], ['motion'])
    assert not [name for name in Server.asked if name.startswith(('observations/front/', 'observations/rear/'))]


def chunks(path: Path) -> list[str]:
    return [p.name for p in path.rglob('*') if p.is_file() and not p.name.startswith('.') and 'episodes' not in p.parts]


def test_an_episode_is_fetched_ahead_and_forgotten_once_it_is_read(server, tmp_path):
    there, shares = RemoteStore(server, tmp_path / 'mirrors'), []
    for episode in there.episodes:
        there.forget(episode.start)
        there.fetch(episode, shares.append)
        asked = sum(Server.asked.values())
        there.read(episode)
        assert sum(Server.asked.values()) == asked
    assert shares[-1] == 1.0 and max(Server.asked.values()) == 1       # each file once
    assert sum(name.startswith('observations/front/') for name in Server.asked) > len(
        list((there.path / 'observations/front').glob('[0-9]*')))
    there.close()
    assert not list((tmp_path / 'mirrors').iterdir())


def test_what_was_fetched_is_not_fetched_again_by_the_next_run(server, tmp_path):
    first = RemoteStore(server, tmp_path)
    first.fetch(first.episodes[0], lambda _: None)
    Server.asked.clear()
    again = RemoteStore(server, tmp_path)
    again.fetch(again.episodes[0], lambda _: None)
    assert list(Server.asked) == ['.zattrs']


def test_a_store_that_was_built_again_is_fetched_again(server, store, tmp_path):
    first = RemoteStore(server, tmp_path / 'mirrors')
    first.fetch(first.episodes[0], lambda _: None)
    (store.path / '.zattrs').write_text((store.path / '.zattrs').read_text() + ' ')
    again = RemoteStore(server, tmp_path / 'mirrors')
    assert not chunks(again.path) and list((tmp_path / 'mirrors').iterdir()) == [again.path]


def test_a_network_that_fails_now_and_then_is_asked_again(server, tmp_path):
    Server.failures = 2
    there = RemoteStore(server, tmp_path)
    assert len(there.read(there.episodes[0])) == 20


def test_a_network_that_fails_for_good_is_named_in_one_line(server, tmp_path):
    there = RemoteStore(server, tmp_path)
    Server.failures = 10**6
    with pytest.raises(DatasetError, match=f'{server}/.*: cannot be fetched .*503.* goes on where it was') as refused:
        there.fetch(there.episodes[0], lambda _: None)
    assert '\n' not in str(refused.value) and not list(there.path.rglob('*.part'))


def test_a_url_without_a_store_is_refused(server, tmp_path):
    with pytest.raises(DatasetError, match=f'{server}/no: there is no such store'):
        RemoteStore(f'{server}/no', tmp_path)


def test_a_lost_chunk_is_named_by_its_url(server, store, tmp_path):
    (store.path / 'actions' / '0.0').unlink()
    there = RemoteStore(server, tmp_path)
    with pytest.raises(DatasetError, match=f'{server}/actions/0.0: the chunk is missing .episode a of day'):
        there.read(there.episodes[0])


def test_a_damaged_chunk_is_named_by_its_url_and_fetched_again_when_it_is_whole(server, store, tmp_path):
    file = store.path / 'actions' / '0.0'
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    there = RemoteStore(server, tmp_path)
    with pytest.raises(DatasetError, match=f'{server}/actions/0.0: the chunk is damaged .it was cut off'):
        there.read(there.episodes[0])
    file.write_bytes(whole)
    assert_same(there.read(there.episodes[0]), store.read(store.episodes[0]))


def test_a_protocol_that_nobody_knows_and_one_without_its_package_are_refused(tmp_path):
    with pytest.raises(DatasetError, match='nope://a/b: Protocol not known: nope'):
        RemoteStore('nope://a/b', tmp_path)
    fsspec.register_implementation('lacking', 'not_installed.System', errtxt='lacking needs the package not_installed')
    with pytest.raises(DatasetError, match='lacking://a/b: lacking needs the package not_installed: install it'):
        RemoteStore('lacking://a/b', tmp_path)


@pytest.mark.parametrize('source, url', [
    ('s3://bucket/store', 's3://bucket/store'), (Path('s3://bucket/store/'), 's3://bucket/store'),
    (Path('http://127.0.0.1:80/a'), 'http://127.0.0.1:80/a'), ('file:///data/store', 'file:///data/store'),
    ('stores/day', None), (Path('/data/a:b'), None), ('C:/data', None), ('s3:', None)])
def test_a_url_is_told_from_a_path(source, url):
    assert url_of(source) == url


def test_a_folder_that_looks_like_a_url_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'day:' / 'store').mkdir(parents=True)
    assert url_of('day:/store') is None
