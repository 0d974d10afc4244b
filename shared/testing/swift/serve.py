#!/usr/bin/python3
"""OpenStack Swift with its S3 API, whole, in one process on loopback: an S3 server for tests that is not ours.

    serve.py FOLDER        (new or empty; holds configuration and data)

Reads SWIFT_ACCESS_KEY (in Swift's form `account:user`) and SWIFT_SECRET_KEY from the environment, prints
`READY http://127.0.0.1:<port>` when requests can be sent, and ends on SIGTERM, SIGQUIT, or when its standard input closes.

The account, container and object servers and the proxy before them are Swift's own, with one device and one replica.
Only memcached, which Swift expects beside it, is a dictionary here. Nothing is durable.
"""

import warnings

import eventlet
import eventlet.wsgi

# Files stay blocking: Swift's own servers are patched in the same way.
eventlet.monkey_patch(os=False)

# What follows must see the patched modules.
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from configparser import RawConfigParser  # noqa: E402
from time import time as clock  # noqa: E402

STORAGE = ('account', 'container', 'object')
# As many as on S3. Swift's own default is 1,000, a tenth.
MULTIPART_MAX_PARTS = 10000
# S3 gives up to 1,000 keys a page; with so few, short tests read more than one page.
KEYS_PER_PAGE = 10
# A machine under load must not look like a broken disk.
PATIENCE_S = 60

# Requests pass through these from left to right. `copy` must come before `slo`: a part that is copied from a large
# object would otherwise be a copy of that object's list of segments.
PIPELINE = {
    'catch_errors': {},
    'gatekeeper': {},
    'cache': {'paste.filter_factory': '__main__:cache_filter'},
    'listing_formats': {},
    's3api': {
        'location': 'us-east-1',
        'max_bucket_listing': KEYS_PER_PAGE,
        'max_upload_part_num': MULTIPART_MAX_PARTS,
    },
    'bulk': {},
    'tempauth': {},
    'copy': {},
    'slo': {'max_manifest_segments': MULTIPART_MAX_PARTS},
    'dlo': {},
    'versioned_writes': {'allow_versioned_writes': 'true'},
    'symlink': {},
}


class Cache:
    """The part of Swift's memcached client that the proxy and tempauth call. Values expire after `time` seconds."""

    def __init__(self):
        self.kept = {}

    def get(self, key, **_options):
        value, ends_at = self.kept.get(key, (None, 0))
        return value if ends_at == 0 or clock() < ends_at else None

    def set(self, key, value, time=0, **_options):
        self.kept[key] = (value, clock() + time if time else 0)

    def delete(self, key, **_options):
        self.kept.pop(key, None)

    def incr(self, key, delta=1, time=0, **_options):
        total = max(0, int(self.get(key) or 0) + delta)
        self.set(key, total, time=time)
        return total


def cache_filter(_global_conf, **_conf):
    cache = Cache()

    def wrap(app):
        def with_cache(environ, start_response):
            environ['swift.cache'] = cache
            return app(environ, start_response)

        return with_cache

    return wrap


def write_conf(path, sections):
    parser = RawConfigParser()
    parser.optionxform = str
    parser.read_dict(sections)
    with open(path, 'w', encoding='utf-8') as file:
        parser.write(file)


def write_confs(etc, devices, access_key, secret_key):
    write_conf(
        os.path.join(etc, 'swift.conf'),
        {
            'swift-hash': {'swift_hash_path_prefix': 'test', 'swift_hash_path_suffix': 'test'},
            'storage-policy:0': {'name': 'only', 'default': 'yes'},
        },
    )
    default = {
        'swift_dir': etc,
        'devices': devices,
        'mount_check': 'false',
        'log_level': 'ERROR',
        # There is no syslog to write to.
        'log_address': os.path.join(etc, 'no-log'),
        'fallocate_reserve': 0,
        'node_timeout': PATIENCE_S,
        'conn_timeout': PATIENCE_S,
        'client_timeout': 2 * PATIENCE_S,
    }
    for kind in STORAGE:
        app = f'{kind}-server'
        sections = {'pipeline:main': {'pipeline': app}, f'app:{app}': {'use': f'egg:swift#{kind}'}}
        write_conf(os.path.join(etc, f'{app}.conf'), {'DEFAULT': default, **sections})

    account, user = access_key.split(':')
    filters = {f'filter:{name}': {'use': f'egg:swift#{name}', **more} for name, more in PIPELINE.items()}
    del filters['filter:cache']['use']
    filters['filter:tempauth'][f'user_{account}_{user}'] = f'{secret_key} .admin'
    write_conf(
        os.path.join(etc, 'proxy-server.conf'),
        {
            'DEFAULT': default,
            'pipeline:main': {'pipeline': ' '.join([*PIPELINE, 'proxy-server'])},
            'app:proxy-server': {'use': 'egg:swift#proxy', 'account_autocreate': 'true'},
            **filters,
        },
    )


def write_ring(etc, kind, port):
    from swift.common.ring import RingBuilder

    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    place = {'ip': '127.0.0.1', 'port': port, 'replication_ip': '127.0.0.1', 'replication_port': port}
    builder.add_dev({**place, 'id': 0, 'region': 1, 'zone': 1, 'weight': 1, 'device': 'disk', 'meta': ''})
    builder.rebalance()
    builder.get_ring().save(os.path.join(etc, f'{kind}.ring.gz'))


def start(etc, app, listening):
    """What swift.common.wsgi.run_server does, but for its change of the event loop: four servers share ours."""
    from swift.common.utils import NullLogger
    from swift.common.wsgi import SwiftHttpProtocol, loadapp

    handle = loadapp(os.path.join(etc, f'{app}.conf'), global_conf={'log_name': app})
    serving = eventlet.spawn(
        eventlet.wsgi.server,
        listening,
        handle,
        NullLogger(),
        protocol=SwiftHttpProtocol,
        socket_timeout=2 * PATIENCE_S,
        capitalize_response_headers=False,
    )
    serving.link(end_with)


def end_with(server):
    """A server that ends takes the process with it: half a Swift would only make tests wait."""
    try:
        server.wait()
    finally:
        os._exit(1)


def end_with_input():
    """Whoever started this process holds the other end; it closes when he dies, however he dies."""
    while True:
        eventlet.hubs.trampoline(sys.stdin.fileno(), read=True)
        if not os.read(sys.stdin.fileno(), 4096):
            os._exit(0)


def main():
    folder = os.path.abspath(sys.argv[1])
    etc, devices = os.path.join(folder, 'etc'), os.path.join(folder, 'devices')
    os.makedirs(etc)
    os.makedirs(os.path.join(devices, 'disk'))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda *_: os._exit(0))

    # S3 clients look for `ETag`, which eventlet would make `Etag`; it warns of being told not to.
    warnings.filterwarnings('ignore', message='capitalize_response_headers is disabled')
    write_confs(etc, devices, os.environ['SWIFT_ACCESS_KEY'], os.environ['SWIFT_SECRET_KEY'])
    from swift.common import utils

    # Before anything else of Swift is imported: its modules read swift.conf while they load.
    utils.set_swift_dir(etc)
    for kind in STORAGE:
        listening = eventlet.listen(('127.0.0.1', 0))
        write_ring(etc, kind, listening.getsockname()[1])
        start(etc, f'{kind}-server', listening)
    proxy = eventlet.listen(('127.0.0.1', 0), backlog=512)
    start(etc, 'proxy-server', proxy)
    print(f'READY http://127.0.0.1:{proxy.getsockname()[1]}', flush=True)
    end_with_input()


if __name__ == '__main__':
    main()
