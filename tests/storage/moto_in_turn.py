"""Runs moto's server as S3 behaves towards those who come at the same time: requests are taken whole, and one after another.

moto by itself looks whether an object is there, and then writes it, so that of two conditional puts both may win; and it
reads an object for its ETag without a lock, so that who gets it at that moment finds it empty. Arguments are those of
`moto_server`.
"""

import io
import threading

from moto import server
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wsgi import get_input_stream


class InTurn(server.DomainDispatcherApplication):
    turn = threading.Lock()

    def __call__(self, environ, start_response):
        try:
            body = get_input_stream(environ).read()
        except ClientDisconnected as gone:
            return gone(environ, start_response)
        environ["wsgi.input"] = io.BytesIO(body)
        if environ.pop("wsgi.input_terminated", False) or "CONTENT_LENGTH" in environ:
            environ["CONTENT_LENGTH"] = str(len(body))
        with self.turn:
            return list(super().__call__(environ, start_response))


server.DomainDispatcherApplication = InTurn
server.main()
